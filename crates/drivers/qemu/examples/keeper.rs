//! A program that takes snapshots of one machine for ever, to be killed by the tests.
//!
//! Arguments: control root, bulk root, the directory of the snapshot. Writes `keeping` to standard output when the guest
//! answers.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{BootImage, Hypervisor, MachineSpec};
use virtmark_image::{Store, TinyRecipe};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(control), Some(bulk), Some(target)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("give it a control root, a bulk root and a directory for the snapshot".into());
    };
    let store = Store::open(Store::default_dir()?)?;
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = BootImage::of(&store.ensure_tiny(&recipe, &mut |_| {})?);
    let run_dir = Arc::new(RunDir::create_in(Roots::new(control, [bulk]))?);
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Auto,
        cache: store.dir().into(),
        vcpus: 1,
    };
    let qemu = Qemu::new(&options, &image, run_dir, &mut |_| {})?;
    let spec = MachineSpec {
        name: "kept".into(),
        vcpus: 1,
        memory_bytes: 128 << 20,
        image: Some(image),
        disks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: true,
        confined: false,
        ready_timeout: Duration::from_secs(60),
    };
    let (mut machine, _) = qemu.create(&spec)?;
    machine.start()?;
    writeln!(std::io::stdout(), "keeping")?;
    loop {
        let (snapshot, _) = machine.snapshot(&target)?;
        qemu.discard(snapshot)?;
    }
}
