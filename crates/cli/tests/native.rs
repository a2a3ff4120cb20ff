//! The whole way, on the bare host: measure, list, show, export, report.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, kill, measured, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

const TTI: [&str; 7] = ["tti", "--hypervisor", "native", "--iterations", "6", "--warmup", "1"];

/// Goes on until it is stopped.
const ENDLESS: [&str; 9] =
    ["tti", "--hypervisor", "native", "--iterations", "100000", "--warmup", "0", "--cmd", "sleep 0.05"];

#[test]
fn a_run_prints_json_whose_figures_hold_together() {
    let world = World::new();
    let report = world.json(&TTI);
    assert_eq!(report["iterations_requested"], 6);
    assert_eq!(report["iterations_success"], 6);
    let ns = |field: &str| report[field].as_u64().unwrap();
    assert!(ns("min_ns") > 0);
    assert!(ns("min_ns") <= ns("p50_ns") && ns("p50_ns") <= ns("p95_ns"));
    assert!(ns("p95_ns") <= ns("p99_ns") && ns("p99_ns") <= ns("max_ns"));
    assert_eq!(report["exit_codes"]["0"], 6);
    assert_eq!(report["failures"], serde_json::json!({}));
    assert_eq!(report["emulated"], false);
    assert_eq!(report["status"], "complete");
    assert_eq!(report["percentiles_supported"]["p99"], false);
    assert_eq!(report["median_ci95"]["level"], 0.95);
    assert_eq!(report["configuration"]["command"], "echo \"benchmark\"");
    assert_eq!(report["configuration"]["timeout_ns"], 90_000_000_000_u64);
    assert_eq!(report["configuration"]["command_line"][1], "tti");
    assert!(report["environment"]["host"]["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()));
    assert_eq!(report["environment"]["virtmark"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["environment"]["harness"]["iterations"], 7);
    assert!(report["environment"]["harness"]["cpu_ns"].as_u64().unwrap() > 0);
    world.assert_clean();
}

#[test]
fn phases_of_every_sample_add_up_to_it() {
    let world = World::new();
    world.virtmark(&TTI).assert().success();
    let run = world.json(&["export", "latest", "--format", "json"]);
    let samples = run["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 6);
    for sample in samples {
        let phases = sample["phases"].as_array().unwrap();
        let sum: u64 = phases.iter().map(|phase| phase["duration_ns"].as_u64().unwrap()).sum();
        assert_eq!(sample["value"].as_f64().unwrap(), sum as f64);
        assert_eq!(phases.last().unwrap()["name"], "exec");
    }
}

#[test]
fn show_prints_what_the_run_printed() {
    let world = World::new();
    let printed = world.json(&TTI);
    let shown = world.json(&["show", "latest"]);
    assert_eq!(shown, printed);
    let by_id = world.json(&["show", printed["run_id"].as_str().unwrap()]);
    assert_eq!(by_id, printed);
}

#[test]
fn people_get_a_table_on_standard_error_and_can_do_without() {
    let world = World::new();
    world
        .virtmark(&TTI)
        .assert()
        .success()
        .stderr(contains("median").and(contains("exec")).and(contains("virtmark itself")))
        .stderr(contains("\u{1b}").not())
        .stdout(contains("\u{1b}").not());
    world.virtmark(&["--quiet", "show", "latest"]).assert().success().stderr("");
}

#[test]
fn a_command_that_is_not_found_is_a_result() {
    let world = World::new();
    let report = world.json(&[&TTI[..], &["--cmd", "no-such-command-anywhere"]].concat());
    assert_eq!(report["iterations_success"], 6);
    assert_eq!(report["exit_codes"]["127"], 6);
}

#[test]
fn an_agent_that_dies_in_the_middle_of_a_command_is_lost() {
    let world = World::new();
    let arguments = [&TTI[..], &["--cmd", "kill -9 $PPID; sleep 5"]].concat();
    let assert = world.virtmark(&arguments).assert().code(18).stderr(contains("stopped answering"));
    let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!(report["failures"]["agent_lost"], 6);
    assert!(report["p50_ns"].is_null());
    world.assert_clean();
}

#[test]
fn a_command_that_takes_too_long_is_a_timeout() {
    let world = World::new();
    let arguments = [
        "tti",
        "--hypervisor",
        "native",
        "--iterations",
        "2",
        "--warmup",
        "0",
        "--timeout",
        "200ms",
        "--cmd",
        "sleep 30",
    ];
    let output = world.virtmark(&arguments).assert().code(27).get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(report["failures"]["timeout"], 2);
    assert!(report["p50_ns"].is_null());
    world.assert_clean();
}

#[test]
fn a_hundred_megabytes_of_output_are_received_and_counted() {
    let world = World::new();
    let arguments = [
        "tti",
        "--hypervisor",
        "native",
        "--iterations",
        "1",
        "--warmup",
        "0",
        "--cmd",
        "head -c 104857600 /dev/zero",
    ];
    let report = world.json(&arguments);
    assert_eq!(report["iterations_success"], 1);
    let run = world.json(&["export", "latest"]);
    assert_eq!(run["samples"][0]["labels"]["stdout_bytes"], "104857600");
    let harness = &report["environment"]["harness"];
    assert!(harness["max_rss_bytes"].as_u64().unwrap() < 80 << 20, "{harness}");
}

#[test]
fn bursts_and_staggered_runs_have_a_ramp() {
    let world = World::new();
    for mode in ["burst", "staggered"] {
        let arguments = [&TTI[..], &["--mode", mode, "--concurrency", "3"]].concat();
        let report = world.json(&arguments);
        assert_eq!(report["mode"], mode);
        assert_eq!(report["ramp"].as_array().unwrap().len(), 6);
        assert_eq!(report["waves"], 2);
        assert!(report["wall_clock_ns"].as_u64().unwrap() >= report["max_ns"].as_u64().unwrap());
        assert!(
            report["time_to_first_ready_ns"].as_u64().unwrap() <= report["wall_clock_ns"].as_u64().unwrap()
        );
    }
    world.virtmark(&["show", "latest"]).assert().success().stderr(contains("wall clock"));
}

#[test]
fn a_lifecycle_is_json_or_csv_and_skips_with_reasons() {
    let world = World::new();
    let arguments = ["lifecycle", "--hypervisor", "native", "--iterations", "3", "--warmup", "0"];
    let report = world.json(&arguments);
    for field in ["vm_creation_time_ms", "vm_startup_time_ms", "vm_shutdown_time_ms", "vm_destroy_time_ms"] {
        assert_eq!(report[field]["samples"].as_array().unwrap().len(), 3, "{field}");
        assert!(report[field]["summary"]["p50"].as_f64().unwrap() > 0.0, "{field}");
        assert_eq!(report[field]["grade"]["verdict"], "no_target", "{field}");
    }
    assert!(report["snapshot_time_ms"]["summary"].is_null());
    assert!(report["snapshot_time_ms"]["skipped"].as_str().is_some_and(|reason| !reason.is_empty()));
    let csv = world.virtmark(&[&arguments[..], &["--format", "csv"]].concat()).assert().success();
    let csv = String::from_utf8(csv.get_output().stdout.clone()).unwrap();
    assert!(csv.starts_with("hypervisor,operation,milliseconds\nnative,vm_create,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 4 * 3);
    world.assert_clean();
}

#[test]
fn runs_are_listed_exported_reported_and_removed() {
    let world = World::new();
    let id = world.json(&TTI)["run_id"].as_str().unwrap().to_owned();
    world.virtmark(&["runs"]).assert().success().stdout(contains(&id).and(contains("complete")));
    let runs = world.json(&["runs", "--json"]);
    assert_eq!(runs[0]["id"], id.as_str());
    assert_eq!(runs[0]["successes"], 6);
    assert!(runs[0]["median"].as_f64().unwrap() > 0.0);

    let exported = |format: &str| {
        let assert = world.virtmark(&["export", "latest", "--format", format]).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    assert_eq!(exported("csv").lines().count(), 1 + 6);
    assert_eq!(exported("jsonl").lines().count(), 1 + 6);
    assert!(exported("markdown").contains(&id));
    let file = world.path("run.json");
    world.virtmark(&["export", "latest", "-o", file.to_str().unwrap()]).assert().success().stdout("");
    assert_eq!(fs::read_to_string(file).unwrap(), exported("json"));

    let page = world.path("report.html");
    world.virtmark(&["report", "latest", &id, "-o", page.to_str().unwrap()]).assert().success();
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("<html") && html.contains(&id));

    world.virtmark(&["remove", &id]).assert().success();
    world.virtmark(&["show", &id]).assert().code(26);
}

#[test]
fn an_interrupt_ends_the_run_and_keeps_what_was_measured() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let world = World::new();
        let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
            .args(ENDLESS)
            .envs(world.environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for(|| measured(&world) >= 3);
        kill(signal, child.id());
        let started = Instant::now();
        wait_for(|| child.try_wait().unwrap().is_some());
        assert!(started.elapsed() < Duration::from_secs(10));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["status"], "interrupted");
        assert!(report["iterations_success"].as_u64().unwrap() >= 3);
        assert_eq!(report["iterations_failed"], 0);
        assert_eq!(world.json(&["show", "latest"]), report);
        world.assert_clean();
    }
}

#[test]
fn an_interrupt_does_not_wait_for_the_command() {
    let world = World::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(["tti", "--hypervisor", "native", "--iterations", "5", "--warmup", "0", "--cmd", "sleep 60"])
        .envs(world.environment())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| world.archive().exists());
    std::thread::sleep(Duration::from_millis(500));
    kill("INT", child.id());
    let started = Instant::now();
    wait_for(|| child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    world.assert_clean();
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_start() {
    let world = World::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(ENDLESS)
        .envs(world.environment())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| measured(&world) >= 2);
    child.kill().unwrap();
    child.wait().unwrap();
    world.virtmark(&["runs"]).assert().success().stderr(contains("removed what process"));
    world.assert_clean();
    // The samples are there, and the run is known to have been killed.
    let runs = world.json(&["runs", "--json"]);
    assert_eq!(runs[0]["state"], "killed");
    assert!(world.json(&["show", "latest"])["iterations_success"].as_u64().unwrap() >= 2);
}
