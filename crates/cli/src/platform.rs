//! From the options of a machine to a platform that runs it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use virtmark_driver_endpoint::{Endpoint, EndpointOptions};
use virtmark_driver_native::Native;
use virtmark_driver_qemu::{AcceleratorChoice, ConfinementFacts, Program, Qemu, QemuOptions, Remedy};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Hypervisor, MachineSpec};
use virtmark_image::{BenchRecipe, Image, KernelSource, Store, TinyRecipe, Verify};
use virtmark_model::ImageFacts;

use crate::args::{Accel, Driver, EndpointArguments, KernelArguments, KernelChoice, MachineArguments};
use crate::endpoint;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::stop::Stop;

/// The recipes that are built when they are not there.
const BENCH: &str = "bench";
const TINY: &str = "tiny";

/// Beside the guest's memory, a snapshot has the state of its devices.
const DEVICE_STATE_BYTES: u64 = 16 << 20;

/// A platform, with what its machines boot.
pub(crate) struct Platform {
    pub(crate) hypervisor: Arc<dyn Hypervisor>,
    /// What its machines boot; none where there are no files of it here.
    pub(crate) image: Option<BootImage>,
    /// What is known of the image, wherever it is.
    pub(crate) image_facts: Option<ImageFacts>,
    pub(crate) run_dir: Arc<RunDir>,
    /// The service, where it is one.
    endpoint: Option<Arc<Endpoint>>,
    /// QEMU, where it is that.
    qemu: Option<Arc<Qemu>>,
    /// Keeps the image from being removed meanwhile.
    _image: Option<Image>,
}

/// What is there before anything of the host is taken.
pub(crate) enum Prepared {
    /// A service, which is not asked anything yet.
    Endpoint(Box<EndpointOptions>),
    /// The bare host.
    Native,
    /// What QEMU's machines boot.
    Qemu(Box<Image>),
}

/// Finds or builds what the machines boot.
pub(crate) fn prepare(
    options: &MachineArguments,
    endpoint: Option<&EndpointArguments>,
    progress: &Progress,
) -> anyhow::Result<Prepared> {
    if let Some(service) =
        endpoint.map(|endpoint| endpoint::options(endpoint, options)).transpose()?.flatten()
    {
        return Ok(Prepared::Endpoint(Box::new(service)));
    }
    match options.hypervisor {
        Driver::Native => {
            if options.accel != Accel::Auto {
                let message = "--hypervisor native has no guest, and so no --accel; leave one of them out";
                return Err(Failure::usage(message).into());
            }
            Ok(Prepared::Native)
        }
        Driver::Qemu => {
            let wanted = Wanted::new(options)?;
            // Building an image takes seconds: better to know before that there is nothing to boot it.
            Program::find(options.qemu.as_deref())?;
            Ok(Prepared::Qemu(Box::new(wanted.open(progress)?)))
        }
    }
}

/// Opens the platform; none when the user stops it meanwhile. It may boot a guest to see whether KVM works, which ends
/// with the stop, and then says nothing of KVM.
pub(crate) fn open_watched(
    options: &MachineArguments,
    prepared: Prepared,
    progress: &Progress,
    stop: &Stop,
) -> anyhow::Result<Option<Platform>> {
    match Platform::open(options, prepared, progress) {
        _ if stop.exit().is_some() => Ok(None),
        opened => opened.map(Some),
    }
}

impl Platform {
    pub(crate) fn open(
        options: &MachineArguments,
        prepared: Prepared,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let run_dir = Arc::new(RunDir::create()?);
        let without_image = |hypervisor, run_dir| Self {
            hypervisor,
            image: None,
            image_facts: None,
            run_dir,
            endpoint: None,
            qemu: None,
            _image: None,
        };
        let image = match prepared {
            Prepared::Endpoint(service) => {
                let endpoint = Arc::new(Endpoint::new(*service)?);
                let image_facts = endpoint.image().cloned();
                let platform = without_image(Arc::clone(&endpoint) as Arc<dyn Hypervisor>, run_dir);
                return Ok(Self { image_facts, endpoint: Some(endpoint), ..platform });
            }
            Prepared::Native => {
                let native = Native::new(Arc::clone(&run_dir))?;
                return Ok(without_image(Arc::new(native), run_dir));
            }
            Prepared::Qemu(image) => *image,
        };
        let boot = BootImage::of(&image);
        let qemu_options = QemuOptions {
            program: options.qemu.clone(),
            accelerator: match options.accel {
                Accel::Auto => AcceleratorChoice::Auto,
                Accel::Kvm => AcceleratorChoice::Kvm,
                Accel::Tcg => AcceleratorChoice::Tcg,
            },
            cache: Store::default_dir()?,
            vcpus: options.vcpus(),
        };
        let qemu = Qemu::new(&qemu_options, &boot, Arc::clone(&run_dir), &mut |line| progress.note(line))?;
        let image_facts = Some(boot.facts.clone());
        let qemu = Arc::new(qemu);
        let platform = without_image(Arc::clone(&qemu) as Arc<dyn Hypervisor>, run_dir);
        Ok(Self { image: Some(boot), image_facts, qemu: Some(qemu), _image: Some(image), ..platform })
    }

    /// The machine that the options ask for, as a template. A service decides itself what they leave open.
    pub(crate) fn machine(&self, options: &MachineArguments, ready_timeout: Duration) -> MachineSpec {
        let (vcpus, memory_bytes) = match self.endpoint {
            Some(_) => (options.vcpus.unwrap_or(0), options.memory.unwrap_or(0)),
            None => (options.vcpus(), options.memory_bytes()),
        };
        MachineSpec {
            name: "machine".into(),
            vcpus,
            memory_bytes,
            image: self.image.clone(),
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: options.kernel_arguments.clone(),
            snapshots: false,
            confined: false,
            ready_timeout,
        }
    }

    /// The same platform, whose machines have a remedy; a refusal with the reason where they cannot.
    pub(crate) fn with_remedy(self, remedy: Remedy, spec: &MachineSpec) -> Result<Self, Failure> {
        let refuse = |reason: &dyn fmt::Display| {
            let message = format!("cannot try {remedy}: {reason}");
            Failure { exit: Exit::Unsupported, message }
        };
        let qemu = self.qemu.as_ref().ok_or_else(|| refuse(&"it is for machines of QEMU"))?;
        let tuned = Arc::new(qemu.with_remedy(remedy, spec).map_err(|reason| refuse(&reason))?);
        Ok(Self { hypervisor: Arc::clone(&tuned) as Arc<dyn Hypervisor>, qemu: Some(tuned), ..self })
    }

    /// A directory with room for a snapshot of one machine, which goes with the run.
    pub(crate) fn snapshot_dir(&self, options: &MachineArguments) -> anyhow::Result<PathBuf> {
        let bytes = match self.endpoint {
            // The service keeps it.
            Some(_) => 0,
            None => options.memory_bytes() + DEVICE_STATE_BYTES,
        };
        Ok(self.run_dir.bulk_dir("snapshots", bytes)?)
    }

    /// How confined machines are locked in here; none where machines have no VMM of this host.
    pub(crate) fn confinement(&self) -> Option<Confinement<'_>> {
        self.qemu.as_ref().map(|qemu| Confinement(qemu.confinement()))
    }

    /// Tells what a service left open about its own times.
    pub(crate) fn remark(&self, progress: &Progress) {
        for (remark, count) in self.endpoint.iter().flat_map(|endpoint| endpoint.notes()) {
            progress.note(&match count {
                1 => remark,
                many => format!("{remark} ({many} times)"),
            });
        }
    }
}

/// How VMMs are locked in, for people and for clients.
pub(crate) struct Confinement<'a>(&'a ConfinementFacts);

impl Confinement<'_> {
    /// Which measures hold, without the paths and reasons that are the operator's.
    pub(crate) fn holds(&self) -> Value {
        self.0
            .measures()
            .into_iter()
            .map(|(name, measure)| (name.replace(' ', "_"), Value::Bool(measure.holds)))
            .collect()
    }
}

impl fmt::Display for Confinement<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holds, lacks): (Vec<_>, Vec<_>) =
            self.0.measures().into_iter().partition(|(_, measure)| measure.holds);
        let names: Vec<_> = holds.iter().map(|(name, _)| *name).collect();
        write!(
            formatter,
            "VMMs are confined by {}",
            if names.is_empty() { "nothing".into() } else { names.join(", ") }
        )?;
        lacks.iter().try_for_each(|(name, measure)| write!(formatter, "; not by {name}: {}", measure.detail))
    }
}

/// The options of a machine, as they go on record.
pub(crate) fn configuration(options: &MachineArguments) -> Value {
    json!({
        "hypervisor": options.hypervisor.as_str(),
        "accel": options.accel.as_str(),
        "vcpus": options.vcpus(),
        "memory_bytes": options.memory_bytes(),
        "image": options.image(),
        "kernel": kernel_name(&options.kernel.kernel),
        "modules": options.kernel.modules,
        "kernel_arguments": options.kernel_arguments,
        "qemu": options.qemu,
    })
}

/// The recipe that the options of `tiny` ask for.
pub(crate) fn tiny_recipe(kernel: &KernelArguments, busybox: Option<PathBuf>) -> anyhow::Result<TinyRecipe> {
    let source = match (&kernel.kernel, &kernel.modules) {
        (KernelChoice::File(file), modules) => {
            if !file.is_file() {
                let message = format!(
                    "cannot boot {}: there is no such file; name a bzImage or vmlinux, or use --kernel debian",
                    file.display()
                );
                return Err(Failure { exit: Exit::KernelInvalid, message }.into());
            }
            KernelSource::Files { kernel: file.clone(), modules: modules.clone() }
        }
        (_, Some(_)) => {
            let message =
                "--modules belongs to a kernel file: name it with --kernel FILE, or leave --modules out";
            return Err(Failure::usage(message).into());
        }
        (KernelChoice::Debian, None) => KernelSource::Debian,
        (KernelChoice::Host, None) => KernelSource::Host,
    };
    let mut recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    recipe.kernel = source;
    recipe.busybox = busybox;
    Ok(recipe)
}

/// The image that the options ask for, not looked at yet.
enum Wanted {
    Bench(BenchRecipe),
    Known(String),
    Tiny(TinyRecipe),
}

impl Wanted {
    fn new(options: &MachineArguments) -> anyhow::Result<Self> {
        match options.image() {
            BENCH => return Ok(Self::Bench(BenchRecipe::new(tiny_recipe(&options.kernel, None)?))),
            TINY => return Ok(Self::Tiny(tiny_recipe(&options.kernel, None)?)),
            _ => {}
        }
        if options.kernel.kernel != KernelChoice::Debian || options.kernel.modules.is_some() {
            let message = format!(
                "--kernel and --modules build the images tiny and bench: leave out --image {}",
                options.image()
            );
            return Err(Failure::usage(message).into());
        }
        Ok(Self::Known(options.image().into()))
    }

    fn open(&self, progress: &Progress) -> anyhow::Result<Image> {
        let store = Store::open(Store::default_dir()?)?;
        Ok(match self {
            Self::Bench(recipe) => store.ensure_bench(recipe, &mut |line| progress.note(line))?,
            Self::Known(name) => store.lookup(name, Verify::Quick)?,
            Self::Tiny(recipe) => store.ensure_tiny(recipe, &mut |line| progress.note(line))?,
        })
    }
}

fn kernel_name(kernel: &KernelChoice) -> String {
    match kernel {
        KernelChoice::Debian => "debian".into(),
        KernelChoice::File(file) => file.display().to_string(),
        KernelChoice::Host => "host".into(),
    }
}
