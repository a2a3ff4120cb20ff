//! Real machines of the image bench, entered by SSH through forwarded ports of this host.
#![allow(dead_code, clippy::unwrap_used, reason = "each user has a part of it, and may panic")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_fleet::provider::Login;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{
    BootImage, Command, GuestLink, Hypervisor, Machine, MachineSpec, Network, StopMode, ssh,
};
use virtmark_image::{BenchRecipe, Image, KeyPair, Store, TinyRecipe};

const SSH_PORT: u16 = 22;
/// For machines that share their host with builds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Machines that are up, and what is needed to enter them.
pub(crate) struct Bench {
    pub(crate) key: KeyPair,
    pub(crate) machines: Vec<Entered>,
    qemu: Qemu,
    image: BootImage,
    /// So that nobody removes its files.
    _held: Image,
    directory: PathBuf,
}

/// A machine whose SSH server has greeted.
pub(crate) struct Entered {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) host_key: ssh::HostKey,
    pub(crate) guest: Arc<dyn GuestLink>,
    machine: Box<dyn Machine>,
}

impl Bench {
    /// So many machines, started all at once; what they leave is below `directory`, which has a short path.
    pub(crate) fn start(directory: &Path, count: usize) -> Self {
        let mut bench = Self::empty(directory);
        bench.machines = bench.boot(count);
        bench
    }

    /// None yet.
    pub(crate) fn empty(directory: &Path) -> Self {
        let store = Store::open(Store::default_dir().unwrap()).unwrap();
        let recipe = BenchRecipe::new(TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec()));
        let held = store.ensure_bench(&recipe, &mut |words| eprintln!("{words}")).unwrap();
        let image = BootImage::of(&held);
        let key = store.ensure_key_pair().unwrap();
        let roots = Roots::new(directory.join("machines"), [directory.join("bulk")]);
        let run_dir = Arc::new(RunDir::create_in(roots).unwrap());
        let options = QemuOptions {
            program: None,
            accelerator: AcceleratorChoice::Auto,
            cache: store.dir().to_path_buf(),
            vcpus: 1,
        };
        let qemu = Qemu::new(&options, &image, run_dir, &mut |words| eprintln!("{words}")).unwrap();
        Self { key, machines: Vec::new(), qemu, image, _held: held, directory: directory.into() }
    }

    /// Starts so many at once, `vm-0` and so on, and waits until all greet.
    pub(crate) fn boot(&self, count: usize) -> Vec<Entered> {
        let (qemu, deadline) = (&self.qemu, Instant::now() + PATIENCE);
        let specs: Vec<_> = (0..count).map(|at| self.spec(&format!("vm-{at}"))).collect();
        thread::scope(|scope| {
            let threads: Vec<_> =
                specs.iter().map(|spec| scope.spawn(move || enter(qemu, spec, deadline))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn spec(&self, name: &str) -> MachineSpec {
        MachineSpec {
            name: name.into(),
            vcpus: 1,
            memory_bytes: 256 << 20,
            image: Some(self.image.clone()),
            disks: Vec::new(),
            networks: vec![Network::User { forwards: vec![SSH_PORT], restricted: true }],
            kernel_arguments: vec![self.key.kernel_argument()],
            snapshots: false,
            confined: false,
            ready_timeout: PATIENCE,
        }
    }

    /// The file of the map, of these machines.
    pub(crate) fn map<'a>(&self, machines: impl IntoIterator<Item = &'a Entered>) -> PathBuf {
        let lines: String =
            machines.into_iter().map(|machine| format!("{} {}\n", machine.address, machine.name)).collect();
        self.write("map", &lines)
    }

    /// The file of host keys as the machines' agents told them.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        let line = |machine: &Entered| machine.host_key.known_hosts_line(machine.address);
        self.write("known_hosts", &self.machines.iter().map(line).collect::<String>())
    }

    /// The authentication file, which trusts the host keys in `known_hosts` and no others.
    pub(crate) fn auth(&self, known_hosts: &Path) -> PathBuf {
        let (key, known_hosts) = (self.key.private.clone(), known_hosts.into());
        self.write("auth.json", &Login { user: "root".into(), key, known_hosts }.auth_file())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.directory.join(name);
        fs::write(&file, text).unwrap();
        file
    }
}

fn enter(qemu: &Qemu, spec: &MachineSpec, deadline: Instant) -> Entered {
    let (mut machine, _) = qemu.create(spec).unwrap();
    machine.start().unwrap();
    let guest = machine.guest().unwrap();
    let host_key = ssh::host_key(&*guest, deadline).unwrap();
    let address = machine.reach(SSH_PORT).unwrap();
    ssh::wait(address, deadline).unwrap();
    Entered { name: spec.name.clone(), address, host_key, guest, machine }
}

impl Entered {
    /// What a line for the guest's shell prints; it runs through the agent, whatever becomes of SSH.
    pub(crate) fn told(&self, line: &str) -> String {
        let output = self.guest.exec(&Command::shell(line)).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.success(), "{}: {line}: {:?} {stderr}", self.name, output.status);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Ends it as a power cut does.
    pub(crate) fn cut_power(&mut self) {
        self.machine.stop(StopMode::Forced).unwrap();
    }
}
