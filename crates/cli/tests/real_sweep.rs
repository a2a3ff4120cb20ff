//! `virtmark sweep` in real machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::thread;
use std::time::Duration;

use common::World;
use common::service::Service;
use common::sweeps::processes_with;
use common::{kill, wait_for};
use serde_json::Value;

const SHORT: [&str; 7] = ["sweep", "--accel", "tcg", "--warmup", "5", "--duration", "500ms"];

#[test]
fn real_sweeps_run_in_machines_of_exactly_the_size() {
    let world = World::real();
    // A machine of another size would be an error of every request.
    let command = "/bin/sh -c '[ $(nproc) = $(cat /tmp/virtmark-sweep/size) ]'";
    for vcpus in ["1", "2"] {
        let size = world.path("size");
        std::fs::write(&size, vcpus).unwrap();
        let upload = format!("{}=size", size.display());
        let asked = [
            "--vcpus",
            vcpus,
            "--memory",
            "256M",
            "--cmd",
            command,
            "--upload",
            &upload,
            "--concurrency",
            "1",
        ];
        world.sweep(&[&SHORT[..], &asked].concat()).assert().success();
    }
    let asked = ["--vcpus", "1,2", "--concurrency", "1,2", "--runs", "2"];
    let results = world.path("sizes");
    let place = ["--output-dir", results.to_str().unwrap()];
    world.sweep(&[&SHORT[..], &asked, &place].concat()).assert().success();
    let mut left = std::fs::read_dir(&results).unwrap().map(|entry| entry.unwrap().path());
    let jsonl = left.find(|path| path.extension().is_some_and(|ending| ending == "jsonl")).unwrap();
    let text = std::fs::read_to_string(jsonl).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 8);
    for row in &rows {
        assert!(row["completed"].as_u64().unwrap() > 0 && row["errors"] == serde_json::json!({}), "{row}");
        assert_eq!(row["emulated"], true);
        assert!(row["platform"].as_str().unwrap().starts_with("qemu"), "{row}");
    }
    let boots = world.json(&["export", "latest", "--format", "json"]);
    let boots: Vec<&Value> =
        boots["samples"].as_array().unwrap().iter().filter(|sample| sample["metric"] == "boot").collect();
    assert_eq!(boots.len(), 2, "one machine for each size");
    world.assert_clean();
}

#[test]
fn real_plans_find_the_redis_of_this_host_in_the_machine() {
    if !Path::new("/usr/bin/redis-server").exists() {
        eprintln!("skipped: redis-server is not installed");
        return;
    }
    let world = World::real();
    let asked = ["--plan", "reels_plan_a", "--vcpus", "1", "--concurrency", "2", "--duration", "2s"];
    world.sweep(&[&SHORT[..5], &asked].concat()).assert().success();
    let row = &world.rows()[0];
    assert!(row["completed"].as_u64().unwrap() > 0, "{row}");
    assert_eq!(row["errors"], serde_json::json!({}), "{}", row["error_messages"]);
    world.assert_clean();
}

#[test]
fn real_guests_out_of_memory_say_so_and_the_sweep_goes_on() {
    let world = World::real();
    let command = "/bin/sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'";
    let asked = [
        "--vcpus",
        "1",
        "--memory",
        "128M",
        "--cmd",
        command,
        "--concurrency",
        "1,2",
        "--duration",
        "8s",
        "--request-timeout",
        "8s",
        "--warmup",
        "0",
    ];
    world.sweep(&[&SHORT[..3], &asked].concat()).assert().code(13);
    let rows = world.rows();
    assert_eq!(rows.len(), 2, "the sweep went on with a new machine");
    for row in rows {
        assert_eq!(row["details"]["failure"]["class"], "out_of_memory", "{row}");
    }
    world.assert_clean();
}

#[test]
fn real_machines_that_die_cost_one_run() {
    let world = World::real();
    let asked = ["--vcpus", "1", "--memory", "160M", "--concurrency", "1,2,3", "--duration", "3s"];
    let mut child = world.spawn_sweep(&[&SHORT[..5], &asked].concat());
    wait_for(|| world.rows().len() == 1);
    thread::sleep(Duration::from_millis(800));
    let own = child.id();
    let machines = processes_with("qemu-system").into_iter().filter(|pid| {
        let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parent
            .rsplit_once(')')
            .is_some_and(|(_, rest)| rest.split_whitespace().nth(1) == Some(&own.to_string()))
    });
    let machines: Vec<u32> = machines.collect();
    assert_eq!(machines.len(), 1);
    kill("KILL", machines[0]);
    wait_for(|| child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = world.rows();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1]["details"]["failure"]["class"], "vmm_exited", "{}", rows[1]["details"]);
    assert!(rows[1]["qps"].is_null() && rows[1]["exit_code"].is_null());
    let summary = std::fs::read_to_string(world.result("_summary.txt")).unwrap();
    // Lines are broken anywhere.
    let words = summary.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("ended by itself"), "{summary}");
    assert!(rows[2]["completed"].as_u64().unwrap() > 0, "{}", rows[2]);
    world.assert_clean();
}

#[test]
fn real_sandbox_services_are_driven_by_commands_and_by_whole_lives() {
    let world = World::real();
    let service = Service::start(&world, &["--warm", "0"]);
    for (per_request, level) in [("exec", "2"), ("life", "1")] {
        let results = world.path(per_request);
        let asked = [
            "sweep",
            "--endpoint",
            &service.url,
            "--per-request",
            per_request,
            "--concurrency",
            level,
            "--warmup",
            "1",
            "--duration",
            "3s",
            "--output-dir",
            results.to_str().unwrap(),
        ];
        let assert = world.sweep(&asked).assert().success();
        let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        let row = &report["rows"][0];
        assert!(row["completed"].as_u64().unwrap() > 0, "{row}");
        assert_eq!(row["errors"], serde_json::json!({}), "{}", row["error_messages"]);
        assert!(row["plan"].as_str().unwrap().ends_with(per_request), "{row}");
        assert!(row["vcpus"].is_null() && row["ru_maxrss"].is_null(), "the service decides: {row}");
        assert_eq!(service.get("/sandboxes").1["sandboxes"], serde_json::json!([]), "none is left");
    }
}

#[test]
fn real_servers_are_brought_into_the_machine_and_called_there() {
    let world = World::real();
    let page = world.path("page");
    std::fs::write(&page, "hello").unwrap();
    let upload = format!("{}=www/page", page.display());
    let asked = [
        "--vcpus",
        "1",
        "--url",
        "http://127.0.0.1:8080/page",
        "--upload",
        &upload,
        "--service",
        "busybox httpd -f -p 8080 -h www",
        "--concurrency",
        "1,2",
        "--duration",
        "2s",
    ];
    world.sweep(&[&SHORT[..5], &asked].concat()).assert().success();
    for row in world.rows() {
        assert!(row["completed"].as_u64().unwrap() > 0, "{row}");
        assert_eq!(row["errors"], serde_json::json!({}), "{}", row["error_messages"]);
        assert_eq!(row["ru_maxrss_of"], "the service's process");
        assert!(row["ru_maxrss"].as_u64().unwrap() > 0, "{row}");
    }
    world.assert_clean();
}
