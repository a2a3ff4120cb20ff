//! What the benchmarks of this driver begin with.

use std::error::Error;
use std::sync::Arc;

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::BootImage;
use virtmark_image::{Image, Store, TinyRecipe};

/// QEMU as it would be chosen for machines with one CPU, a guest for it, and where it works. The image cannot be removed
/// from its store while the last is held.
type Begun = (Qemu, BootImage, Arc<RunDir>, Image);

/// Begins with the image `tiny`.
pub(crate) fn tiny() -> Result<Begun, Box<dyn Error>> {
    let store = Store::open(Store::default_dir()?)?;
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let held = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}"))?;
    let image = BootImage::of(&held);
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Auto,
        cache: store.dir().into(),
        vcpus: 1,
    };
    let run_dir = Arc::new(RunDir::create()?);
    let qemu = Qemu::new(&options, &image, Arc::clone(&run_dir), &mut |words| eprintln!("{words}"))?;
    Ok((qemu, image, run_dir, held))
}
