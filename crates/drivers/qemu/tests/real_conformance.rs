//! The conformance suite against real QEMU machines.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;

use virtmark_host::process::live_children;
use virtmark_hypervisor::MachineSpec;
use virtmark_hypervisor::conformance::{Subject, Verdict, run};

use common::Place;
use virtmark_hypervisor::{BootImage, Hypervisor, MachineSpec};
use virtmark_image::{Store, TinyRecipe};

#[test]
fn real_machines_conform() {
    conform(1);
}

/// Several CPUs have ACPI and MSI, which one under emulation has not.
#[test]
fn real_machines_with_two_cpus_conform() {
    conform(2);
}

fn conform(vcpus: u32) {
    let place = Place::with_vcpus(vcpus);
    let Place { run_dir, qemu, .. } = &place;
    let spec = MachineSpec { vcpus, ..place.spec("") };
    let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
    let store = Store::open(Store::default_dir().unwrap()).unwrap();
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}")).unwrap();
    let image = BootImage::of(&image);
    let run_dir = Arc::new(
        RunDir::create_in(Roots::new(place.path().join("run"), [place.path().join("bulk")])).unwrap(),
    );
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Auto,
        cache: store.dir().to_path_buf(),
        vcpus,
    };
    let qemu = Qemu::new(&options, &image, Arc::clone(&run_dir), &mut |words| eprintln!("{words}")).unwrap();
    let facts = qemu.facts();
    eprintln!("under {}", facts.execution().unwrap());
    let spec = MachineSpec {
        name: String::new(),
        vcpus,
        memory_bytes: 128 << 20,
        image: Some(image),
        disks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: true,
        confined: false,
        ready_timeout: Duration::from_secs(60),
    };
    let remains = || {
        let files = fs::read_dir(run_dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let files =
            files.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.contains("conformance"));
        files
            .chain(live_children().into_iter().map(|child| format!("{} {}", child.name, child.pid)))
            .collect()
    };
    let scratch = run_dir.bulk_dir("snapshots", 1 << 30).unwrap();
    let subject = Subject { hypervisor: qemu, spec, scratch, remains: &remains };
    let verdicts = run(&subject, &mut |name, verdict| eprintln!("{name}: {verdict}"));
    let failed: Vec<_> =
        verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let skipped = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Skipped(_))).count();
    assert_eq!(skipped, 0, "QEMU has everything that the suite needs");
}
