//! Measuring tools in real machines beside the same on this host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

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

/// Both sides do the same in the same place, and nothing of it stays on the host.
#[test]
fn the_host_in_the_place_of_a_guest_has_its_file_where_the_host_has() {
    let world = World::new();
    // Where a guest has it. Somebody's own may be there.
    let file = || std::fs::metadata("/var/tmp/virtmark-fio").and_then(|file| file.modified()).ok();
    let before = file();
    let arguments = ["guest", "storage", "--hypervisor", "native", "--only", "fio-rand-read"];
    let more = ["--blocks", "1", "--time", "1", "--size", "4M"];
    let report = world.json(&[&arguments[..], &more].concat());
    let target = |side: &str| report["tests"][0][side]["target"].as_str().unwrap_or_default().to_owned();
    assert_eq!((target("guest"), target("host")), ("file".into(), "file".into()), "{report}");
    assert_eq!(file(), before);
    world.assert_clean();
}

#[test]
fn real_guests_without_the_tools_are_told_what_to_do() {
    let world = World::real();
    let tests = "sysbench-cpu,iperf3-tcp,ping";
    let words =
        |tool: &str| contains(format!("cannot run {tool}: it is not in the guest; use --image bench"));
    world
        .virtmark(&["guest", "cpu", "network", "--only", tests, "--blocks", "1", "--image", "tiny"])
        .assert()
        .code(24)
        .stderr(words("sysbench").and(words("iperf3")).and(words("ping")));
    world.assert_clean();
}

/// fio wants more for its requests than the guest has, and there is no second machine.
#[test]
fn real_guests_short_of_memory_and_alone_are_told_so_and_the_rest_is_measured() {
    let world = World::real();
    let lines = "case \"$*\" in *guest-2*) echo 'cannot set up guest memory: Cannot allocate memory' >&2; exit 1;; esac
exec qemu-system-$(uname -m) \"$@\"";
    let qemu = world.script("one-machine", lines);
    let tests = "sysbench-cpu,fio-seq-read,iperf3-tcp";
    let sizes = ["--memory", "192M", "--depth", "130", "--size", "64M", "--blocks", "1"];
    let arguments = ["guest", "all", "--only", tests, "--qemu", qemu.to_str().unwrap()];
    let report = failing(&world, &[&arguments[..], &sizes].concat());
    assert!(test(&report, "sysbench-cpu")["ratio"]["point"].is_f64(), "{report}");
    for (name, why) in [
        ("fio-seq-read", "fio on the guest was"),
        ("iperf3-tcp", "network tests need a second machine: no memory for guest-2"),
    ] {
        let guest = &test(&report, name)["guest"];
        assert_eq!(guest["failures"]["out_of_memory"], 1, "{guest}");
        let messages: Vec<&str> =
            guest["messages"].as_object().unwrap().values().filter_map(Value::as_str).collect();
        assert!(messages[0].starts_with(why) && messages[0].contains("--memory"), "{messages:?}");
    }
    world.assert_clean();
}

/// Without namespaces the host's server is on the loopback interface, where others are too.
#[test]
fn real_ports_that_are_taken_on_the_host_are_told_and_the_guests_values_stay() {
    let world = World::real();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let tests = "iperf3-tcp,ping";
    let arguments = ["guest", "network", "--only", tests, "--blocks", "1", "--port", &port];
    let output = world
        .virtmark(&arguments)
        .env("PATH", programs_without(&world, "nsenter"))
        .assert()
        .code(3)
        .stderr(contains(format!("cannot start iperf3's server on the host: port {port} is taken")))
        .get_output()
        .stdout
        .clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    let tcp = test(&report, "iperf3-tcp");
    assert_eq!((&tcp["host"]["failures"]["other"], &tcp["ratio"]), (&1.into(), &Value::Null), "{tcp}");
    assert!(tcp["guest"]["median"].is_f64(), "{tcp}");
    world.assert_clean();
}

/// The report of a run of which a part failed.
fn failing(world: &World, arguments: &[&str]) -> Value {
    let output = world.virtmark(arguments).assert().code(3).get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

fn test<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut tests = report["tests"].as_array().unwrap().iter();
    tests.find(|test| test["test"] == name).unwrap()
}

/// A directory with all programs of this user but one.
fn programs_without(world: &World, program: &str) -> PathBuf {
    let directory = world.path("programs");
    std::fs::create_dir(&directory).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for entry in std::env::split_paths(&path).filter_map(|place| place.read_dir().ok()).flatten().flatten() {
        let name = entry.file_name();
        if name != program {
            // The first of a name is the one that is run; one more is no error.
            let _ = symlink(entry.path(), directory.join(name));
        }
    }
    directory
}
