//! Measuring tools in real machines beside the same on this host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::str::contains;

#[test]
fn real_tools_run_in_a_guest_and_on_the_host_in_turns() {
    let world = World::real();
    let tests = "sysbench-cpu,memory-seq-read,fio-rand-read,fio-rand-write,iperf3-tcp";
    let report = world.json(&["guest", "all", "--only", tests, "--blocks", "2", "--size", "16M"]);
    let ratio = |test: &serde_json::Value| test["ratio"]["point"].as_f64();
    for test in report["tests"].as_array().unwrap() {
        let is_measured = ratio(test).is_some_and(|ratio| ratio > 0.0);
        // Machines can be connected where this user may make bridges or the host hands TCP on: always with QEMU.
        assert!(is_measured, "{test}");
        assert_eq!(test["ratio"]["emulated"], report["emulated"], "{test}");
        assert_eq!(test["guest"]["samples"].as_array().unwrap().len(), 2, "{test}");
    }
    assert_eq!(report["tests"].as_array().unwrap().len(), 5);
    // Memory that QEMU has for itself, and a disk of which the guest wrote every byte.
    let overhead = &report["overhead"];
    assert!(overhead["memory_overhead_mb"]["value"].as_f64().unwrap() > 0.0, "{overhead}");
    assert!(overhead["storage_overhead_mb"]["value"].as_f64().unwrap() < 8.0, "{overhead}");
    assert!(overhead["cpu_overhead_percent"]["value"].is_f64(), "{overhead}");
    // Two blocks make no interval, and so no grade.
    assert_eq!(overhead["cpu_overhead_percent"]["grade"], "cannot_tell", "{overhead}");
    assert!(report["harness"]["harness_share"].as_f64().unwrap() < 0.5, "{report}");
    assert_eq!(world.json(&["show", "latest"]), report);
    world.assert_clean();
}

#[test]
fn real_guests_without_the_tools_are_told_what_to_do() {
    let world = World::real();
    world
        .virtmark(&["guest", "cpu", "--image", "tiny"])
        .assert()
        .code(24)
        .stderr(contains("cannot run sysbench: it is not in the guest; use --image bench"));
    world.assert_clean();
}
