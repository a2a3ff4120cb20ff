//! Live migrations by the command: what it prints, what it keeps, what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;

#[test]
fn real_a_loaded_machine_is_moved_measured_and_found_to_be_the_same() {
    let world = World::real();
    // The second is larger than any host: refused, and no reason to leave out the first.
    let arguments = ["migrate", "--memory", "256,1000000", "--load", "dirty=20M"];
    let arguments = [&arguments[..], &["--iterations", "1", "--settle", "1s"]].concat();
    let output = world.virtmark(&arguments).assert().code(3).get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let [moved, refused] = &report["cells"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&moved["attempts"], &moved["success_rate"]), (&1.into(), &1.0.into()), "{report}");
    for figure in [
        "migration_duration_ms",
        "downtime_actual_ms",
        "downtime_guest_ms",
        "data_transferred_mb",
        "transfer_rate_mbps",
        "rounds",
    ] {
        assert!(moved[figure]["p50"].as_f64().unwrap() > 0.0, "{figure}: {moved}");
    }
    // In whole milliseconds, of which there may be none.
    assert!(moved["downtime_hypervisor_ms"]["p50"].as_f64().is_some(), "{moved}");
    assert!(moved["grade_text"].as_str().unwrap().contains("row 1 GB"), "{moved}");
    assert_eq!(refused["failures"]["out_of_memory"], 1, "{report}");
    assert!(refused["migration_duration_ms"].is_null(), "{report}");
    assert_eq!(world.json(&["show", "latest"]), report);
    world.assert_clean();
}

#[test]
fn the_bare_host_moves_nothing_and_says_why() {
    let world = World::new();
    world
        .virtmark(&["migrate", "--hypervisor", "native", "--memory", "256"])
        .assert()
        .success()
        .stderr(contains("stay on it"))
        .stdout(contains("\"cells\": []").and(contains("processes of the host stay on it")));
    world.assert_clean();
}
