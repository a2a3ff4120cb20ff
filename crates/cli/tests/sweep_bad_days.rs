//! `virtmark sweep` on bad days: targets that fail in every way, and places that cannot be written.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use common::sweeps::{NATIVE, processes_with, report};
use common::{World, kill, wait_for};
use predicates::str::contains;

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
    // Of this test alone, wherever else it runs on this host.
    let command = format!("sleep 314151.{}", std::process::id());
    let asked = ["--cmd", &command, "--concurrency", "2", "--request-timeout", "200ms"];
    let assert = world.sweep(&[&NATIVE[..], &asked].concat()).assert().code(27);
    assert_eq!(report(&assert.get_output().stdout)["runs_failed"], 1);
    let row = &world.rows()[0];
    assert!(row["errors"]["timeout"].as_u64().unwrap() > 0 && row["max_us"].is_null(), "{row}");
    assert_eq!(processes_with(&command), Vec::<u32>::new());
}

#[test]
fn a_run_beyond_its_time_limit_is_killed_with_all_its_processes_and_the_next_one_runs() {
    let world = World::new();
    // Of this test alone, wherever else it runs on this host.
    let command = format!("sleep 0.414{:07}", std::process::id());
    let asked = [
        &NATIVE[..5],
        &[
            "--cmd",
            &command,
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
    assert_eq!(processes_with(&command), Vec::<u32>::new());
    world.assert_clean();
}

#[test]
fn a_target_that_floods_standard_error_fills_nothing() {
    let world = World::new();
    let command = "/bin/sh -c 'head -c 3000000 /dev/zero >&2'";
    let assert =
        world.sweep(&[&NATIVE[..], &["--cmd", command, "--concurrency", "2"]].concat()).assert().success();
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
