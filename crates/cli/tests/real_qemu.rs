//! Real QEMU machines, measured through the program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{World, phases_of};
use predicates::prelude::*;
use predicates::str::contains;

const TTI: [&str; 5] = ["tti", "--iterations", "3", "--warmup", "0"];

#[test]
fn real_machines_answer_and_their_time_is_taken_apart() {
    let world = World::real();
    let report = world.json(&TTI);
    assert_eq!(report["iterations_success"], 3, "{report}");
    assert_eq!(report["exit_codes"]["0"], 3);
    let environment = &report["environment"];
    assert_eq!(environment["hypervisor"]["name"], "qemu");
    assert_eq!(report["emulated"], environment["hypervisor"]["accelerator"] == "tcg");
    for hash in ["id", "kernel_sha256", "initramfs_sha256"] {
        assert_eq!(environment["image"][hash].as_str().unwrap().len(), 64, "{hash}");
    }
    let run = world.json(&["export", "latest"]);
    for sample in run["samples"].as_array().unwrap() {
        let phases = phases_of(sample);
        let names: Vec<_> = phases.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["prepare", "spawn", "firmware_kernel", "init", "connect", "exec"]);
        // The answer to the hello may have come before whoever waits for it was scheduled.
        assert!(phases.iter().all(|(name, ns)| *ns > 0 || name == "connect"), "{phases:?}");
        assert_eq!(phases.iter().map(|(_, ns)| ns).sum::<u64>() as f64, sample["value"].as_f64().unwrap());
    }
    assert_eq!(world.json(&["show", "latest"]), report);
    world.assert_clean();
}

#[test]
fn real_machines_start_together_and_apart() {
    let world = World::real();
    for mode in ["burst", "staggered"] {
        let report = world.json(&[&TTI[..], &["--mode", mode, "--concurrency", "3"]].concat());
        assert_eq!(report["iterations_success"], 3, "{report}");
        assert_eq!(report["ramp"].as_array().unwrap().len(), 3);
        assert!(report["time_to_first_ready_ns"].as_u64().unwrap() > 0);
    }
    world.assert_clean();
}

#[test]
fn real_machines_have_the_cpus_and_memory_asked_for() {
    let world = World::real();
    let command = "[ $(nproc) = 2 ] && [ $(awk '/MemTotal/{print $2}' /proc/meminfo) -gt 400000 ]";
    let asked =
        ["tti", "--iterations", "1", "--warmup", "0", "--vcpus", "2", "--memory", "512M", "--cmd", command];
    assert_eq!(world.json(&asked)["exit_codes"]["0"], 1);
}

#[test]
fn real_lifecycles_measure_all_six_operations() {
    let world = World::real();
    let report = world.json(&["lifecycle", "--iterations", "2", "--warmup", "0"]);
    for field in [
        "vm_creation_time_ms",
        "vm_startup_time_ms",
        "snapshot_time_ms",
        "restore_time_ms",
        "vm_shutdown_time_ms",
        "vm_destroy_time_ms",
    ] {
        let operation = &report[field];
        assert_eq!(operation["samples"].as_array().unwrap().len(), 2, "{field}: {operation}");
        assert!(operation["summary"]["p50"].as_f64().unwrap() > 0.0, "{field}: {operation}");
    }
    let grade = report["vm_startup_time_ms"]["grade"].to_string();
    let emulated = report["environment"]["hypervisor"]["accelerator"] == "tcg";
    assert_eq!(grade.contains("emulated"), emulated, "{grade}");
    world
        .virtmark(&["lifecycle", "--iterations", "1", "--warmup", "0", "--format", "csv"])
        .assert()
        .success()
        .stdout(contains("\nqemu").and(contains(",vm_create,")).and(contains(",restore,")));
    world.assert_clean();
}

#[test]
fn real_guests_without_the_command_give_127_and_that_is_a_result() {
    let world = World::real();
    let report = world.json(&["tti", "--iterations", "1", "--warmup", "0", "--cmd", "no-such-command"]);
    assert_eq!(report["exit_codes"]["127"], 1);
    assert_eq!(report["iterations_failed"], 0);
}

#[test]
fn real_guests_may_print_a_hundred_megabytes() {
    let world = World::real();
    let command = "head -c 104857600 /dev/zero";
    let report = world.json(&["tti", "--iterations", "1", "--warmup", "0", "--cmd", command]);
    assert_eq!(report["iterations_success"], 1);
    let run = world.json(&["export", "latest"]);
    assert_eq!(run["samples"][0]["labels"]["stdout_bytes"], "104857600");
    let harness = &report["environment"]["harness"];
    assert!(harness["max_rss_bytes"].as_u64().unwrap() < 80 << 20, "{harness}");
}

#[test]
fn real_findings_about_kvm_are_the_same_for_doctor_and_for_machines() {
    let world = World::real();
    let checks = world.json(&["doctor", "--json"]);
    let kvm = checks.as_array().unwrap().iter().find(|check| check["id"] == "kvm").unwrap();
    let works = kvm["status"] == "good";
    let run = world.virtmark(&["tti", "--iterations", "1", "--warmup", "0", "--accel", "kvm"]).assert();
    if works {
        run.success();
    } else {
        run.failure().code(predicate::in_iter([22, 23])).stderr(contains("--accel auto"));
    }
    world.assert_clean();
}
