//! The restore scenario with real QEMU machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Watcher;
use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::process::live_children;
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::{BootImage, Capability, Hypervisor, MachineSpec};
use virtmark_image::{Store, TinyRecipe};
use virtmark_scenarios::pace::Pace;
use virtmark_scenarios::restore::{Restore, RestoreFailures, RestorePlan, RestoreReport};
use virtmark_scenarios::{Blockwise, Context, Ending};

#[test]
fn real_machines_remember_what_was_in_the_snapshot() {
    let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
    let store = Store::open(Store::default_dir().unwrap()).unwrap();
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}")).unwrap();
    let image = BootImage::of(&image);
    let roots = Roots::new(place.path().join("run"), [place.path().join("bulk")]);
    let run_dir = Arc::new(RunDir::create_in(roots).unwrap());
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Auto,
        cache: store.dir().to_path_buf(),
        vcpus: 1,
    };
    let qemu = Qemu::new(&options, &image, Arc::clone(&run_dir), &mut |words| eprintln!("{words}")).unwrap();
    let scratch = run_dir.bulk_dir("snapshots", 144 << 20).unwrap();
    let plan = RestorePlan {
        pace: Pace::sequential(NonZeroU32::new(3).unwrap(), 0),
        timeout: Duration::from_secs(60),
        working_set_bytes: 16 << 20,
        working_set_iterations: 1,
    };
    let run = common::run("restore", serde_json::to_value(&plan).unwrap(), &qemu);
    let machine = MachineSpec { memory_bytes: 128 << 20, image: Some(image), ..common::spec() };
    let (mut samples, watcher) = (Vec::new(), Watcher::new());
    let context = Context {
        hypervisor: &qemu,
        sink: &mut samples,
        progress: &watcher,
        observer: None,
        interrupt: &watcher,
        started: Instant::now(),
    };
    let restore = Restore { plan, machine, scratch: scratch.clone() };
    let ending = restore.run(context).unwrap();
    let report = RestoreReport::from_samples(&run, &samples).unwrap();
    let told = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(ending, Ending::Complete, "{told}");
    assert_eq!(report.failures, RestoreFailures::default(), "{samples:?}");
    assert_eq!(report.iterations_success, 3);
    assert!(report.restore_only_p50_ns < report.restore_tti_p50_ns);
    // The guest alone has far more than a megabyte, and cannot have more than it was given, its VMM aside.
    let pss = report.restored_pss_bytes.as_ref().unwrap();
    assert!((1 << 20..512 << 20).contains(&pss.p50_bytes), "{pss:?}");
    for figures in &report.working_set {
        let cold = figures.cache == "cold";
        if cold && !qemu.capabilities().has(Capability::CoolSnapshot) {
            assert!(figures.skip_reason.is_some(), "{figures:?}");
        } else if figures.skipped == 0 {
            assert_eq!(figures.working_set_bytes, Some(16 << 20));
            let (whole, reading) =
                (figures.from_request.as_ref().unwrap(), figures.reading.as_ref().unwrap());
            assert!(reading.p50_ns < whole.p50_ns);
        }
    }
    assert_eq!(live_children(), [], "a process is left");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "a snapshot is left");
}
