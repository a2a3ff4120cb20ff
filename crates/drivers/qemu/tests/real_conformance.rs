//! The conformance suite against real QEMU machines.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::time::Instant;

use virtmark_host::process::live_children;
use virtmark_hypervisor::conformance::{Subject, Verdict, run_some};
use virtmark_hypervisor::{Capability, Hypervisor, MachineSpec};

use common::Place;

/// Names the checks to run, with commas between them; all when it is not set. For places where each takes long.
const CHECKS_VARIABLE: &str = "VIRTMARK_CHECKS";

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
    eprintln!("under {}", qemu.facts().execution().unwrap());
    let spec = MachineSpec { vcpus, ..place.spec("") };
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
    let chosen = std::env::var(CHECKS_VARIABLE).ok();
    let chosen: Option<Vec<&str>> = chosen.as_deref().map(|names| names.split(',').collect());
    let takes = |name: &str| chosen.as_ref().is_none_or(|names| names.contains(&name));
    let mut last = Instant::now();
    let verdicts = run_some(&subject, &takes, &mut |name, verdict| {
        eprintln!("{name}: {verdict} ({:.1} s)", last.elapsed().as_secs_f64());
        last = Instant::now();
    });
    if let Some(names) = &chosen {
        // With the one for what is left.
        assert_eq!(verdicts.len(), names.len() + 1, "a check of {names:?} is not known");
    }
    let failed: Vec<_> =
        verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let unshared = qemu.capabilities().reason_absent(Capability::SharedNetwork);
    let skipped = verdicts.iter().filter(|(name, verdict)| {
        // Only root may make shared networks.
        matches!(verdict, Verdict::Skipped(_))
            && !(unshared.is_some() && name.starts_with("a_shared_network"))
    });
    assert_eq!(skipped.count(), 0, "QEMU has everything that the suite needs");
}
