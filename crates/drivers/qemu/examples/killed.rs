//! A program with one machine, to be killed by the tests. Boots it, confined, and waits for ever; or takes snapshots of it
//! for ever.
//!
//! Arguments: control root, bulk root, the directory of the snapshots if they are to be taken. Writes the pid of the VMM
//! to standard output when the guest answers.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::process::live_children;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{BootImage, Capability, Hypervisor, MachineSpec, Network};
use virtmark_image::{Store, TinyRecipe};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(control), Some(bulk)) = (arguments.next(), arguments.next()) else {
        return Err("give it a control root and a bulk root".into());
    };
    let target = arguments.next();
    let store = Store::open(Store::default_dir()?)?;
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = store.ensure_tiny(&recipe, &mut |_| {})?;
    let image_files = BootImage::of(&image);
    let run_dir = Arc::new(RunDir::create_in(Roots::new(control, [bulk]))?);
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Auto,
        cache: store.dir().into(),
        vcpus: 1,
    };
    let qemu = Qemu::new(&options, &image_files, run_dir, &mut |_| {})?;
    // What is kept is on no shared network, which others may not make.
    let is_shared = target.is_none() && qemu.capabilities().has(Capability::SharedNetwork);
    let shared = is_shared.then(|| Network::Shared { segment: "killed".into() });
    let spec = MachineSpec {
        name: "killed".into(),
        vcpus: 1,
        memory_bytes: 128 << 20,
        image: Some(image_files),
        disks: Vec::new(),
        networks: shared.into_iter().collect(),
        kernel_arguments: Vec::new(),
        snapshots: target.is_some(),
        confined: target.is_none(),
        ready_timeout: Duration::from_secs(60),
    };
    let (mut machine, _) = qemu.create(&spec)?;
    machine.start()?;
    for child in live_children() {
        writeln!(std::io::stdout(), "{}", child.pid)?;
    }
    loop {
        match &target {
            Some(target) => qemu.discard(machine.snapshot(target)?.0)?,
            None => std::thread::park(),
        }
    }
}
