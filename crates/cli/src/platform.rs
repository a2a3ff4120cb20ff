//! From the options of a machine to a platform that runs it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use virtmark_driver_native::Native;
use virtmark_driver_qemu::{AcceleratorChoice, Program, Qemu, QemuOptions};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Hypervisor, MachineSpec};
use virtmark_image::{Image, KernelSource, Store, TinyRecipe, Verify};

use crate::args::{Accel, Driver, KernelArguments, KernelChoice, MachineArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::Progress;

/// The recipe that is built when it is not there.
const TINY: &str = "tiny";

/// A platform, with what its machines boot.
pub(crate) struct Platform {
    pub(crate) hypervisor: Box<dyn Hypervisor>,
    pub(crate) image: Option<BootImage>,
    pub(crate) run_dir: Arc<RunDir>,
    /// Keeps the image from being removed meanwhile.
    _image: Option<Image>,
}

/// What is there before anything of the host is taken: the image, for platforms that boot one.
pub(crate) struct Prepared {
    image: Option<Image>,
}

/// Finds or builds what the machines boot.
pub(crate) fn prepare(options: &MachineArguments, progress: &Progress) -> anyhow::Result<Prepared> {
    match options.hypervisor {
        Driver::Native => {
            if options.accel != Accel::Auto {
                let message = "--hypervisor native has no guest, and so no --accel; leave one of them out";
                return Err(Failure::usage(message).into());
            }
            Ok(Prepared { image: None })
        }
        Driver::Qemu => {
            let wanted = Wanted::new(options)?;
            // Building an image takes seconds: better to know before that there is nothing to boot it.
            Program::find(options.qemu.as_deref())?;
            Ok(Prepared { image: Some(wanted.open(progress)?) })
        }
    }
}

impl Platform {
    pub(crate) fn open(
        options: &MachineArguments,
        prepared: Prepared,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let run_dir = Arc::new(RunDir::create()?);
        let Some(image) = prepared.image else {
            let hypervisor = Box::new(Native::new(Arc::clone(&run_dir))?);
            return Ok(Self { hypervisor, image: None, run_dir, _image: None });
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
            vcpus: options.vcpus,
        };
        let qemu = Qemu::new(&qemu_options, &boot, Arc::clone(&run_dir), &mut |line| progress.note(line))?;
        Ok(Self { hypervisor: Box::new(qemu), image: Some(boot), run_dir, _image: Some(image) })
    }

    /// The machine that the options ask for, as a template.
    pub(crate) fn machine(&self, options: &MachineArguments, ready_timeout: Duration) -> MachineSpec {
        MachineSpec {
            name: "machine".into(),
            vcpus: options.vcpus,
            memory_bytes: options.memory,
            image: self.image.clone(),
            disks: Vec::new(),
            kernel_arguments: options.kernel_arguments.clone(),
            snapshots: false,
            confined: false,
            ready_timeout,
        }
    }
}

/// The options of a machine, as they go on record.
pub(crate) fn configuration(options: &MachineArguments) -> Value {
    json!({
        "hypervisor": options.hypervisor.as_str(),
        "accel": options.accel.as_str(),
        "vcpus": options.vcpus,
        "memory_bytes": options.memory,
        "image": options.image,
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
    Known(String),
    Tiny(TinyRecipe),
}

impl Wanted {
    fn new(options: &MachineArguments) -> anyhow::Result<Self> {
        if options.image == TINY {
            return Ok(Self::Tiny(tiny_recipe(&options.kernel, None)?));
        }
        if options.kernel.kernel != KernelChoice::Debian || options.kernel.modules.is_some() {
            let message =
                format!("--kernel and --modules build the image tiny: leave out --image {}", options.image);
            return Err(Failure::usage(message).into());
        }
        Ok(Self::Known(options.image.clone()))
    }

    fn open(&self, progress: &Progress) -> anyhow::Result<Image> {
        let store = Store::open(Store::default_dir()?)?;
        Ok(match self {
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
