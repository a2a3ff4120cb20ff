//! Live migrations by the command: what it prints, what it keeps, what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;
use virtmark_host::cgroup::Limits;
use virtmark_host::rundir::{Roots, RunDir};

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

/// Memory is limited as it is for a container: there is more on the host, and none of it is this run's.
#[test]
fn real_a_host_without_memory_for_a_second_process_keeps_the_first() {
    let world = World::real();
    let place = world.path("host");
    let run = RunDir::create_in(Roots::new(place.join("run"), [place.join("bulk")])).unwrap();
    let limits = Limits { cpus: 2, memory_bytes: 512 << 20, tasks: 1000 };
    let small = match run.cgroups() {
        Ok(cgroups) if cgroups.controllers().contains(&"memory") => cgroups.machine("small", limits).unwrap(),
        Ok(_) => return eprintln!("skipped: memory is not limited here"),
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let enter =
        small.directories().iter().map(|directory| format!("echo $$ > {}/cgroup.procs", directory.display()));
    let lines = enter.chain(["exec \"$@\"".into()]).collect::<Vec<_>>().join("\n");
    let inside = world.script("inside", &format!("set -e\n{lines}"));
    let program = env!("CARGO_BIN_EXE_virtmark");
    // One of it has room, with what its guest writes to; two have not.
    let arguments = ["migrate", "--memory", "256", "--load", "dirty=50M", "--dirty-over", "128M"];
    // How much memory a machine takes beside its guest's is that of an emulated one.
    let more = ["--accel", "tcg", "--iterations", "1", "--settle", "3s"];
    let arguments = [&[program][..], &arguments, &more].concat();
    let output = world.command(&inside, &arguments).assert().code(13).get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let cell = &report["cells"][0];
    assert_eq!(cell["failures"], serde_json::json!({ "out_of_memory": 1 }), "{report}");
    let reason = cell["reasons"][0].as_str().unwrap();
    assert!(reason.contains("a second process of migrate-256-dirty-50M-0"), "{reason}");
    let run = world.json(&["export", "latest"]);
    let labels = &run["samples"][0]["labels"];
    assert_eq!(labels["machine_afterwards"], "running", "{run}");
    assert_eq!(small.oom_kills(), Some(0));
    small.remove().unwrap();
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
