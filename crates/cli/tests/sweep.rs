//! `virtmark sweep` on the bare host: rows, files, variables, guard rails, going on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::sweeps::{HEADER, NATIVE, processes_with, report};
use common::{World, kill, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

#[test]
fn a_sweep_leaves_rows_a_summary_pictures_and_a_run() {
    let world = World::new();
    let assert = world.sweep(&[&NATIVE[..], &["--concurrency", "1,2"]].concat()).assert().success();
    let report = report(&assert.get_output().stdout);
    assert_eq!(report["runs_success"], 2, "{report}");
    assert_eq!(report["runs_failed"], 0);
    let time = |field: &str| report["time"][field].as_u64().unwrap();
    assert!(time("measure_ns") >= 600_000_000 && time("boot_ns") > 0, "{}", report["time"]);
    let parts = time("measure_ns") + time("boot_ns") + time("warmup_ns") + time("own_ns");
    assert_eq!(time("total_ns"), parts);

    let csv = fs::read_to_string(world.result(".csv")).unwrap();
    assert_eq!(csv.lines().next().unwrap(), HEADER);
    assert_eq!(csv.lines().count(), 3);
    let rows = world.rows();
    let levels: Vec<u64> = rows.iter().map(|row| row["concurrency"].as_u64().unwrap()).collect();
    assert_eq!(levels, [1, 2]);
    for row in &rows {
        assert_eq!(row["plan"], "concat_plan");
        assert_eq!((row["exit_code"].as_i64(), row["timeout_killed"].as_u64()), (Some(0), Some(0)));
        assert!(row["qps"].as_f64().unwrap() > 0.0 && row["ru_maxrss"].as_u64().unwrap() > 0, "{row}");
        let us = |field: &str| row[field].as_f64().unwrap();
        assert!(us("p50_us") <= us("p90_us") && us("p90_us") <= us("p99_us") && us("p99_us") <= us("max_us"));
        assert_eq!(row["errors"], serde_json::json!({}));
        assert!(row["histogram"].as_str().is_some_and(|text| text.starts_with("HIST")), "{row}");
        assert_eq!(row["settings"]["vcpus"], serde_json::json!([1]));
    }
    let summary = fs::read_to_string(world.result("_summary.txt")).unwrap();
    for words in ["Assessment", "Knee", "The load generator itself took up to", "us a request"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    let mut left = fs::read_dir(world.results()).unwrap().map(|entry| entry.unwrap().path());
    let plots = left.find(|path| path.is_dir()).unwrap();
    for name in ["qps_vs_concurrency.png", "latency_vs_concurrency.png", "qps_vs_p99.png", "knee_summary.txt"]
    {
        assert!(plots.join(name).is_file(), "{name}");
    }
    assert_eq!(world.json(&["show", "latest"]), report);
    world.virtmark(&["show", "latest"]).assert().stderr(contains("Assessment"));
    world.assert_clean();
}

#[test]
fn variables_are_as_good_as_flags_and_flags_come_first() {
    let world = World::new();
    let variables = [
        ("VCPUS", "1"),
        ("PLAN_NAME", "regex_plan"),
        ("DURATION_SEC", "0.2"),
        ("RUNS", "5"),
        ("WARMUP_ITERS", "3"),
        ("CONCURRENCY_LEVELS", "1 3"),
        ("ASYNC", "0"),
        ("TIMEOUT_SEC", "20"),
    ];
    world.sweep(&["sweep", "--in", "native", "--runs", "2"]).envs(variables).assert().success();
    let rows = world.rows();
    let order: Vec<_> =
        rows.iter().map(|row| (row["run_idx"].as_u64(), row["concurrency"].as_u64())).collect();
    let at = |run, level| (Some(run), Some(level));
    assert_eq!(order, [at(1, 1), at(1, 3), at(2, 1), at(2, 3)], "the flag comes first");
    for row in rows {
        assert_eq!(row["plan"], "regex_plan");
        assert_eq!(row["async"], 0);
        assert_eq!(row["vcpus"], 1);
        assert_eq!(row["duration_sec"], 0.2);
        assert_eq!(row["settings"]["warmup"], 3);
        assert_eq!(row["settings"]["timeout_ms"], 20_000);
    }
    world.sweep(&["sweep"]).env("ASYNC", "x").assert().code(2).stderr(contains("--async"));
    world.sweep(&["sweep"]).env("DURATION_SEC", "long").assert().code(2).stderr(contains("--duration"));
}

#[test]
fn guard_rails_hold_until_they_are_taken_away() {
    let world = World::new();
    for (arguments, words) in [
        (["--duration", "31"], "30s are the longest"),
        (["--timeout", "61"], "60s are the longest"),
        (["--warmup", "101"], "100 are the most"),
        (["--concurrency", "1,129"], "128 are the most"),
        (["--cpu-threads", "2"], "one for each"),
    ] {
        let asked = [&["sweep", "--in", "native", "--vcpus", "1"][..], &arguments].concat();
        let assert = world.sweep(&asked).assert().code(2);
        assert.stderr(contains(words).and(contains("--unsafe-limits")));
    }
    assert!(!world.results().exists() && !world.archive().exists(), "nothing was begun");
    let beyond =
        ["--cpu-threads", "2", "--warmup", "200", "--concurrency", "1", "--async", "0", "--unsafe-limits"];
    world.sweep(&[&NATIVE[..5], &["--duration", "0.2"], &beyond].concat()).assert().success();
    assert_eq!(world.rows()[0]["settings"]["unsafe_limits"], true);
    assert_eq!(world.rows()[0]["async"], 0);
    world
        .sweep(&["sweep", "--duration", "10", "--timeout", "10"])
        .assert()
        .code(2)
        .stderr(contains("every run of 10s would be killed"));
}

#[test]
fn more_cpus_than_the_host_has_are_said_in_the_results() {
    let world = World::new();
    let asked = ["sweep", "--in", "native", "--vcpus", "255", "--duration", "0.2", "--concurrency", "1"];
    world.sweep(&asked).assert().success().stderr(contains("255 vCPUs are more than"));
    assert!(world.rows()[0]["warnings"][0].as_str().unwrap().contains("255 vCPUs are more than"));
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let world = World::new();
    for (arguments, words) in [
        (&["--url", "http://10.0.0.1/"][..], "--in native"),
        (&["--url", "http://127.0.0.1:8080/"], "--service"),
        (&["--url", "https://127.0.0.1/", "--in", "native"], "only http://"),
        (&["--plan", "reels_plan_a", "--redis", "127.0.0.1:6379"], "leave out --redis"),
        (&["--cmd", "'unfinished", "--in", "native"], "has no end"),
        (&["--cmd", "true", "--in", "native", "--upload", "/bin/sh=/bin/mine"], "would write to this host"),
        (&["--rate", "5", "--concurrency", "1,2"], "give one number"),
        (&["--concurrency", "1,1"], "twice"),
        (&["--vcpus", "256"], "\"256\" is not a whole number from 1 to 255"),
        (&["--slo", "fast"], "fast"),
    ] {
        let assert = world.sweep(&[&["sweep"], arguments].concat()).assert().code(2);
        assert.stderr(contains(words));
    }
    world.sweep(&["sweep", "--plan", "none_such"]).assert().code(26).stderr(contains("concat_plan"));
    assert!(!world.archive().exists());
}

#[test]
fn an_open_loop_has_rates_for_levels() {
    let world = World::new();
    let asked = [&NATIVE[..], &["--rate", "50,200", "--randomise", "--seed", "3"]].concat();
    world.sweep(&asked).assert().success();
    let rows = world.rows();
    let mut rates: Vec<u64> = rows
        .iter()
        .map(|row| row["rate"].as_u64().or(row["rate"].as_f64().map(|rate| rate as u64)).unwrap())
        .collect();
    rates.sort_unstable();
    assert_eq!(rates, [50, 200]);
    for row in rows {
        assert!(row["concurrency"].is_null() && row["details"]["in_flight"] == 128, "{row}");
        assert!(row["dropped"].is_u64() && row["lag_p99_us"].is_number(), "{row}");
        assert_eq!(row["settings"]["order_seed"], 3);
        let due = row["details"]["due"].as_u64().unwrap() as f64;
        assert!((due - row["rate"].as_f64().unwrap() * 0.3).abs() <= 1.0, "{row}");
    }
}

#[test]
fn an_interrupted_sweep_keeps_what_is_done_and_is_gone_on_with() {
    let world = World::new();
    let asked = [&NATIVE[..], &["--concurrency", "1,2,4", "--runs", "3", "--slo", "p99<1s"]].concat();
    let mut child = world.spawn_sweep(&asked);
    wait_for(|| world.rows().len() >= 2);
    kill("INT", child.id());
    let started = Instant::now();
    wait_for(|| child.try_wait().unwrap().is_some());
    assert!(started.elapsed() < Duration::from_secs(10));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let before = world.rows();
    assert!((2..9).contains(&before.len()), "{} rows", before.len());
    assert_eq!(report(&output.stdout)["rows"].as_array().unwrap().len(), before.len());
    assert!(world.result("_summary.txt").is_file());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let go_on = format!("{} of 9 runs are done; go on: virtmark sweep --resume ", before.len());
    assert!(said.contains(&go_on), "{said}");
    world.assert_clean();

    let file = world.result(".jsonl");
    let file = file.to_str().unwrap();
    for (arguments, words) in [
        (&["--runs", "4"][..], "runs 3 and not 4"),
        (&["--in", "vm"], "location"),
        (&["--plan", "regex_plan"], "name \"concat_plan\" and not \"regex_plan\""),
        (&["--slo", "p99<2s"], "slo"),
    ] {
        let assert = world.sweep(&[&["sweep", "--resume", file], arguments].concat()).assert().code(2);
        assert.stderr(contains(words).and(contains("cannot go on with")));
    }
    assert_eq!(world.rows(), before, "a refusal changes nothing");

    world.sweep(&["sweep", "--resume", file]).assert().success();
    let after = world.rows();
    assert_eq!(after[..before.len()], before[..]);
    let mut all: Vec<_> =
        after.iter().map(|row| (row["run_idx"].as_u64(), row["concurrency"].as_u64())).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), after.len()), (9, 9));
    assert_eq!(fs::read_to_string(world.result(".csv")).unwrap().lines().count(), 10);
    world
        .sweep(&["sweep", "--resume", file])
        .assert()
        .success()
        .stderr(contains("nothing is left to measure"));
    world.sweep(&["sweep", "--resume", "/none.jsonl"]).assert().failure().stderr(contains("/none.jsonl"));
}

#[test]
fn a_service_runs_beside_the_target_and_is_gone_after_it() {
    let world = World::new();
    // Of this test alone, wherever else it runs on this host.
    let marker = format!("2718281.{}", std::process::id());
    let script = world.script("helper", &format!("exec sleep {marker}"));
    let upload = format!("{}=bin/helper", script.display());
    let asked =
        ["--cmd", "test -f bin/helper", "--upload", &upload, "--service", "bin/helper", "--concurrency", "1"];
    world.sweep(&[&NATIVE[..], &asked].concat()).assert().success();
    let row = &world.rows()[0];
    assert_eq!(row["warnings"], Value::Null, "{row}");
    assert_eq!(row["settings"]["uploads"][0]["path"], "bin/helper");
    assert_eq!(processes_with(&format!("sleep {marker}")), Vec::<u32>::new());

    let missing = [
        "--cmd",
        "true",
        "--service",
        "/bin/sh -c 'echo sorry; exit 7'",
        "--service-port",
        "1",
        "--concurrency",
        "1",
    ];
    let world = World::new();
    let assert = world.sweep(&[&NATIVE[..], &missing].concat()).assert().failure();
    assert.stderr(contains("service exited with code 7").and(contains("sorry")));
    assert_eq!(world.rows().len(), 1);
    world.assert_clean();
}
