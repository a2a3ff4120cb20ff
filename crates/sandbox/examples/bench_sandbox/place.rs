//! One driver, and everything that starts machines with it.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_driver_endpoint::{Endpoint, EndpointOptions, Mapping};
use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, MachineSpec, Snapshot};
use virtmark_image::{Image, Store, TinyRecipe};
use virtmark_sandbox::api::{
    CreateRequest, Created, DestroyRequest, Env, ExecAnswer, ExecRequest, ImageName, SandboxId, StartKind,
};
use virtmark_sandbox::http::{self, HttpOptions, Server};
use virtmark_sandbox::{Images, Options, Service};

use crate::Result;

/// Warm machines that wait; one is taken at a time.
const WARM: u32 = 1;
/// How long the pool may take to be full again.
const REFILL: Duration = Duration::from_secs(60);

/// Where everything is measured.
pub(crate) struct Place {
    pub(crate) qemu: Arc<Qemu>,
    pub(crate) service: Arc<Service>,
    /// The same service through HTTP, which it is asked to start sandboxes from their template.
    pub(crate) endpoint: Endpoint,
    image: BootImage,
    server: Server,
    state: tempfile::TempDir,
}

/// Knows one image only.
struct Tiny(Image);

impl Images for Tiny {
    fn resolve(&self, _: Option<&ImageName>) -> virtmark_sandbox::Result<BootImage> {
        Ok(BootImage::of(&self.0))
    }

    fn names(&self) -> Vec<String> {
        vec!["tiny".into()]
    }
}

impl Place {
    /// A service with a full pool, and with it a template.
    pub(crate) fn open() -> Result<Self> {
        let store = Store::open(Store::default_dir()?)?;
        let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
        let image = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}"))?;
        let boot_image = BootImage::of(&image);
        let options = QemuOptions {
            program: None,
            accelerator: AcceleratorChoice::Auto,
            cache: store.dir().to_path_buf(),
            vcpus: 1,
        };
        let run_dir = Arc::new(RunDir::create()?);
        let qemu = Arc::new(Qemu::new(&options, &boot_image, run_dir, &mut |words| eprintln!("{words}"))?);
        let state = tempfile::tempdir()?;
        let notice = virtmark_sandbox::Notice::new(|words| eprintln!("service: {words}"));
        let options = Options { warm: WARM, notice, ..Options::new(state.path()) };
        let service = Service::open(qemu.clone(), Arc::new(Tiny(image)), options)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = http::serve(listener, service.clone(), HttpOptions::default())?;
        let url = format!("http://{}", server.local_addr());
        let endpoint = Endpoint::new(EndpointOptions {
            start: Some("template".into()),
            ..EndpointOptions::new(url, Mapping::virtmark()?)
        })?;
        let place = Self { qemu, service, endpoint, image: boot_image, server, state };
        place.wait_warm()?;
        Ok(place)
    }

    /// Waits until the pool is full and nothing is being made for it.
    pub(crate) fn wait_warm(&self) -> Result<()> {
        let deadline = Instant::now() + REFILL;
        while self.service.health().ready_warm < WARM.into() {
            if Instant::now() > deadline {
                return Err(format!("the pool of {WARM} is not full after {} s", REFILL.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The service's own template of sandboxes with its default sizes, as the driver wrote it. To be asked while there
    /// is no other.
    pub(crate) fn template(&self) -> Result<Snapshot> {
        let parent = self.state.path().join("templates");
        let found: Vec<PathBuf> =
            fs::read_dir(&parent)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        let [directory] = &found[..] else {
            return Err(format!("{} templates in {} instead of one", found.len(), parent.display()).into());
        };
        // Its size is what it is told to be at its making, and restores do not look at it.
        Ok(Snapshot { directory: directory.join("machine"), disk_bytes: 0 })
    }

    /// What the service asks of the driver for a sandbox that goes on from a template.
    pub(crate) fn spec(&self) -> Result<MachineSpec> {
        let options = self.service.options();
        Ok(MachineSpec {
            name: SandboxId::random()?.to_string(),
            vcpus: options.vcpus,
            memory_bytes: options.memory_mib << 20,
            image: Some(self.image.clone()),
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: options.kernel_arguments.clone(),
            snapshots: true,
            confined: options.confined,
            ready_timeout: options.ready_timeout,
        })
    }

    pub(crate) fn create(&self, start: StartKind, memory_mib: Option<u64>) -> Result<Created> {
        let created =
            self.service.create(CreateRequest { start: Some(start), memory_mib, ..Default::default() })?;
        let as_asked = match start {
            StartKind::Cold => "cold",
            StartKind::Template => "template",
            StartKind::Warm => "warm",
        };
        if created.start.as_str() != as_asked {
            return Err(format!("asked for a {as_asked} start, got a {} one", created.start.as_str()).into());
        }
        Ok(created)
    }

    pub(crate) fn exec(&self, id: &SandboxId, command: &str) -> Result<ExecAnswer> {
        let answer = self.service.exec(ExecRequest {
            sandbox_id: id.clone(),
            cmd: command.parse()?,
            timeout_ms: None,
            stdin: None,
            env: Env::default(),
            encoding: None,
        })?;
        if answer.exit_code != 0 {
            return Err(format!("{command:?} in the guest ended with {answer:?}").into());
        }
        Ok(answer)
    }

    pub(crate) fn destroy(&self, id: SandboxId) -> Result<()> {
        if !self.service.destroy(DestroyRequest { sandbox_id: id.clone() })?.destroyed {
            return Err(format!("{id} was gone before it was destroyed").into());
        }
        Ok(())
    }

    pub(crate) fn close(self) {
        self.server.shutdown(Duration::ZERO);
    }
}
