//! What the tests of real machines share; each of them uses a part of it.
#![allow(dead_code, clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::process::live_children;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{BootImage, Hypervisor, Machine, MachineSpec};
use virtmark_image::{Store, TinyRecipe};

/// A directory with QEMU and an image to boot.
pub(crate) struct Place {
    pub(crate) run_dir: Arc<RunDir>,
    pub(crate) qemu: Qemu,
    pub(crate) image: BootImage,
    /// Last, as the run's directory is in it.
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with_vcpus(1)
    }

    /// For machines of this many virtual CPUs.
    pub(crate) fn with_vcpus(vcpus: u32) -> Self {
        let directory = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        let store = Store::open(Store::default_dir().unwrap()).unwrap();
        let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
        let image = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}")).unwrap();
        let image = BootImage::of(&image);
        let run_dir = Arc::new(RunDir::create_in(roots(directory.path())).unwrap());
        let options = QemuOptions {
            program: None,
            accelerator: AcceleratorChoice::Auto,
            cache: store.dir().to_path_buf(),
            vcpus,
        };
        let qemu =
            Qemu::new(&options, &image, Arc::clone(&run_dir), &mut |words| eprintln!("{words}")).unwrap();
        Self { run_dir, qemu, image, directory }
    }

    pub(crate) fn spec(&self, name: &str) -> MachineSpec {
        MachineSpec {
            name: name.into(),
            vcpus: 1,
            memory_bytes: 128 << 20,
            image: Some(self.image.clone()),
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: Vec::new(),
            snapshots: true,
            confined: false,
            ready_timeout: Duration::from_secs(60),
        }
    }

    pub(crate) fn started(&self, spec: &MachineSpec) -> Box<dyn Machine> {
        let (mut machine, _) = self.qemu.create(spec).unwrap();
        machine.start().unwrap();
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Processes and directories of machines that are not `machine`.
    pub(crate) fn others_than(&self, machine: &str) -> Vec<String> {
        let children = live_children().into_iter().map(|child| child.name);
        let directories = fs::read_dir(self.run_dir.path()).unwrap();
        let directories = directories
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        children.chain(directories).filter(|name| name != machine).collect()
    }
}

/// The network interfaces of this host that have `mark` in their names.
pub(crate) fn interfaces_with(mark: &str) -> Vec<String> {
    let names = fs::read_dir("/sys/class/net").unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(mark)).collect()
}

pub(crate) fn roots(place: &Path) -> Roots {
    Roots::new(place.join("run"), [place.join("bulk")])
}

/// Starts the program that is made to be killed, its run below `place`, and gives it with the pid of its VMM.
pub(crate) fn start_to_be_killed(place: &Path, target: Option<&Path>) -> (Child, i32) {
    let test = std::env::current_exe().unwrap();
    // Cargo puts examples beside the directory of test programs, and builds them before tests.
    let example = test.parent().unwrap().parent().unwrap().join("examples/killed");
    let mut command = Command::new(example);
    command.args([place.join("run"), place.join("bulk")]).args(target).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}
