//! `virtmark sweep` on the bare host: rows, files, variables, guard rails, and bad days.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use common::sweeps::{HEADER, NATIVE, processes_with};
use common::{World, kill, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

fn report(output: &[u8]) -> Value {
    serde_json::from_slice(output).unwrap()
}

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
    assert!(summary.contains("Assessment") && summary.contains("Knee"), "{summary}");
    let plots = fs::read_dir(world.results()).unwrap().map(|entry| entry.unwrap().path());
    let plots = plots.filter(|path| path.is_dir()).next().unwrap();
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
    let beyond = ["--cpu-threads", "2", "--warmup", "200", "--concurrency", "1", "--unsafe-limits"];
    world.sweep(&[&NATIVE[..5], &["--duration", "0.2"], &beyond].concat()).assert().success();
    assert_eq!(world.rows()[0]["settings"]["unsafe_limits"], true);
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
fn a_place_that_cannot_be_written_is_told_before_anything_begins() {
    let world = World::new();
    fs::write(world.path("file"), "").unwrap();
    let place = world.path("file").join("results");
    let assert =
        world.sweep(&[&NATIVE[..], &["--output-dir", place.to_str().unwrap()]].concat()).assert().failure();
    assert.stderr(contains("cannot make the directory"));
    assert!(!world.archive().exists(), "nothing was begun");
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
        (&["--slo", "fast"], "fast"),
    ] {
        let assert = world.sweep(&[&["sweep"], arguments].concat()).assert().code(2);
        assert.stderr(contains(words));
    }
    world.sweep(&["sweep", "--plan", "none_such"]).assert().code(26).stderr(contains("concat_plan"));
    assert!(!world.archive().exists());
}

#[test]
fn a_target_that_exits_badly_is_an_error_of_every_request() {
    let world = World::new();
    let asked =
        [&NATIVE[..], &["--cmd", "/bin/sh -c 'echo why >&2; exit 3'", "--concurrency", "1,2"]].concat();
    let assert = world.sweep(&asked).assert().code(4);
    let report = report(&assert.get_output().stdout);
    assert_eq!((report["runs_success"].as_u64(), report["runs_failed"].as_u64()), (Some(0), Some(2)));
    for row in world.rows() {
        let failed: u64 =
            row["errors"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert!(failed > 0 && row["completed"] == 0, "{row}");
        assert!(row["p50_us"].is_null() && row["qps"] == 0.0, "{row}");
        assert!(row["error_messages"].to_string().contains("why"), "{row}");
    }
}

#[test]
fn a_target_that_hangs_is_given_up_request_by_request() {
    let world = World::new();
    let marker = "31.4151";
    let command = format!("sleep {marker}");
    let assert =
        world.sweep(&[&NATIVE[..], &["--cmd", &command, "--concurrency", "2"]].concat()).assert().code(27);
    assert_eq!(report(&assert.get_output().stdout)["runs_failed"], 1);
    let row = &world.rows()[0];
    assert!(row["errors"]["timeout"].as_u64().unwrap() > 0 && row["max_us"].is_null(), "{row}");
    assert_eq!(processes_with(&command), Vec::<u32>::new());
}

#[test]
fn a_run_beyond_its_time_limit_is_killed_with_all_its_processes_and_the_next_one_runs() {
    let world = World::new();
    let command = "sleep 0.41421";
    let asked = [
        &NATIVE[..5],
        &[
            "--cmd",
            command,
            "--warmup",
            "100",
            "--duration",
            "1s",
            "--timeout",
            "1500ms",
            "--concurrency",
            "1,2",
        ],
    ]
    .concat();
    let assert = world.sweep(&asked).assert().code(27);
    assert.stderr(contains("was killed"));
    let rows = world.rows();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(
            (row["exit_code"].as_i64(), row["timeout_killed"].as_u64()),
            (Some(137), Some(1)),
            "{row}"
        );
        assert!(row["qps"].is_null() && row["p99_us"].is_null(), "{row}");
        assert_eq!(row["details"]["failure"]["class"], "timeout");
    }
    assert_eq!(processes_with(command), Vec::<u32>::new());
    world.assert_clean();
}

#[test]
fn a_target_that_floods_standard_error_fills_nothing() {
    let world = World::new();
    let command = "/bin/sh -c 'head -c 3000000 /dev/zero >&2'";
    let assert =
        world.sweep(&[&NATIVE[..9], &["--cmd", command, "--concurrency", "2"]].concat()).assert().success();
    let report = report(&assert.get_output().stdout);
    assert!(report["rows"][0]["completed"].as_u64().unwrap() > 0, "{report}");
    assert!(report["environment"]["harness"]["max_rss_bytes"].as_u64().unwrap() < 200 << 20);
    let size = fs::metadata(world.result(".jsonl")).unwrap().len();
    assert!(size < 200_000, "{size} bytes of JSON lines");
}

#[test]
fn a_target_that_leaks_is_killed_within_its_cap_and_that_is_said() {
    let world = World::new();
    let command = "/bin/sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'";
    let asked = [
        &NATIVE[..7],
        &[
            "--memory",
            "96M",
            "--cmd",
            command,
            "--concurrency",
            "1",
            "--request-timeout",
            "5s",
            "--duration",
            "3s",
        ],
    ];
    world.sweep(&asked.concat()).assert().failure();
    let row = &world.rows()[0];
    let warnings = row["warnings"].to_string();
    if warnings.contains("may use all memory") {
        eprintln!("skipped: this host permits no cgroup that limits memory");
        return;
    }
    assert!(row["details"]["oom_kills"].as_u64().unwrap() > 0, "{row}");
    assert!(row.to_string().contains("the memory ran out"), "{row}");
    assert_eq!(row["details"]["failure"]["class"], "out_of_memory", "{row}");
    world.assert_clean();
}

#[test]
fn a_url_that_is_refused_is_an_error_of_every_request() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/");
    world.sweep(&[&NATIVE[..], &["--url", &url, "--concurrency", "2"]].concat()).assert().code(4);
    let row = &world.rows()[0];
    assert!(row["errors"]["refused"].as_u64().unwrap() > 0, "{row}");
    assert_eq!(row["plan"], url.as_str());
    assert!(row["cpu_threads"].is_null() && row["async"].is_null(), "only plans have them");
}

#[test]
fn answers_that_are_errors_are_counted_beside_those_that_are_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let (mut stream, mut request, mut count) = (stream.unwrap(), [0; 4096], 0);
                while stream.read(&mut request).is_ok_and(|read| read > 0) {
                    count += 1;
                    let status = if count % 2 == 0 { "500 No" } else { "200 OK" };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let world = World::new();
    world.sweep(&[&NATIVE[..], &["--url", &url, "--concurrency", "2"]].concat()).assert().success();
    let row = &world.rows()[0];
    let (good, bad) = (row["completed"].as_u64().unwrap(), row["errors"]["http_5xx"].as_u64().unwrap());
    assert!(good > 0 && bad > 0 && good.abs_diff(bad) <= good / 4 + 4, "{good} and {bad}");
    let summary = fs::read_to_string(world.result("_summary.txt")).unwrap();
    assert!(summary.contains("http_5xx"), "{summary}");
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
fn a_redis_that_is_not_there_is_told_before_or_in_every_request() {
    let world = World::new();
    let asked = [&NATIVE[..], &["--plan", "reels_plan_a", "--concurrency", "1"]].concat();
    let assert = world.sweep(&asked).env("PATH", "/nonexistent").assert().code(24);
    assert.stderr(contains("apt-get install redis-server"));
    assert!(!world.archive().exists());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    world.sweep(&[&asked[..], &["--redis", &free]].concat()).assert().code(4);
    let row = &world.rows()[0];
    assert!(row["errors"]["redis_unreachable"].as_u64().unwrap() > 0, "{row}");
}

#[test]
fn a_redis_that_dies_in_a_run_is_an_error_there_and_is_back_in_the_next() {
    if !std::path::Path::new("/usr/bin/redis-server").exists() {
        eprintln!("skipped: redis-server is not installed");
        return;
    }
    let world = World::new();
    let asked = [
        &NATIVE[..5],
        &["--plan", "reels_plan_a", "--warmup", "1", "--duration", "2s", "--concurrency", "1,2"],
    ];
    let mut child = world.spawn_sweep(&asked.concat());
    let place = world.directory.path().to_str().unwrap().to_owned();
    // It writes its own command line, but works where its data is; the one that made the data is gone by then.
    let redis = || {
        let all = processes_with("redis-server").into_iter().filter(|pid| {
            let directory = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            directory.starts_with(&place) && directory.ends_with("redis")
        });
        all.collect::<Vec<u32>>()
    };
    let generators = || {
        let line = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        processes_with("job.json").into_iter().filter(|pid| line(pid).contains(&place)).count()
    };
    wait_for(|| generators() > 0 && redis().len() == 1);
    thread::sleep(Duration::from_millis(700));
    kill("KILL", redis()[0]);
    wait_for(|| child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = world.rows();
    assert_eq!(rows.len(), 2);
    assert!(!rows[0]["errors"].as_object().unwrap().is_empty(), "{}", rows[0]);
    assert!(rows[0]["completed"].as_u64().unwrap() > 0);
    assert!(
        rows[0]["warnings"].to_string().contains("redis was killed by signal 9"),
        "{}",
        rows[0]["warnings"]
    );
    assert_eq!(rows[1]["errors"], serde_json::json!({}), "{}", rows[1]["error_messages"]);
    assert!(rows[1]["warnings"].to_string().contains("was started again"), "{}", rows[1]["warnings"]);
    world.assert_clean();
}

#[test]
fn a_service_runs_beside_the_target_and_is_gone_after_it() {
    let world = World::new();
    let marker = "27.18281";
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
