//! Plans through the program: run, bench, check and list, and what is told when they cannot be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::net::TcpListener;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};

#[test]
fn a_plan_runs_with_the_request_from_standard_input() {
    let output = World::new()
        .virtmark(&["plan", "run", "concat_plan"])
        .write_stdin("{\"user_id\": 7}\n")
        .assert()
        .success()
        .stderr("");
    let result: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(result["plan"], "concat_plan");
    assert_eq!(result["columns"], json!([["user_id", "int"], ["item_id", "int"], ["title", "text"]]));
    let rows = result["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[0], json!({"user_id": 7, "item_id": 101, "title": "morning run"}));
    assert_eq!(rows[3], json!({"user_id": 0, "item_id": 201, "title": "cats and lasers"}));
}

#[test]
fn a_bench_prints_its_figures() {
    let world = World::new();
    let figures = world.json(&["plan", "bench", "concat_plan", "--iterations", "10", "--concurrency", "4"]);
    assert_eq!((&figures["plan"], &figures["iterations"]), (&"concat_plan".into(), &10.into()));
    assert_eq!((&figures["concurrency"], &figures["succeeded"]), (&4.into(), &10.into()));
    assert_eq!((&figures["async_scheduler"], &figures["failures"]), (&true.into(), &json!({})));
    assert_eq!(figures["too_few_calls_for"], json!(["p99_us"]));
    let of = |name: &str| figures[name].as_f64().unwrap();
    assert!(of("cpu_threads") >= 1.0 && of("total_ms") > 0.0 && of("throughput_rps") > 0.0);
    let order = ["min_us", "p50_us", "p90_us", "p99_us", "max_us"].map(of);
    assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    assert!((order[0]..=order[4]).contains(&of("avg_us")));
    let figures = world.json(&[
        "plan",
        "bench",
        "parallel_sleep_plan",
        "--iterations",
        "2",
        "--sync",
        "--cpu-threads",
        "1",
        "--io-threads",
        "2",
    ]);
    assert_eq!((&figures["async_scheduler"], &figures["cpu_threads"]), (&false.into(), &1.into()));
    assert_eq!(figures["io_threads"], 2);
    assert!(figures["min_us"].as_f64().unwrap() >= 40_000.0);
}

#[test]
fn calls_that_fail_are_counted_and_are_in_no_latency() {
    let world = World::new();
    let requests = world.path("requests.jsonl");
    fs::write(&requests, "{\"user_id\": 1}\n{\"user_id\": \"x\"}\n").unwrap();
    let bench = ["plan", "bench", "concat_plan", "--iterations", "8", "--inputs", requests.to_str().unwrap()];
    let output = world.virtmark(&bench).assert().code(3).stderr(contains("must be of type int, not a text"));
    let figures: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!((&figures["succeeded"], &figures["failed"]), (&4.into(), &4.into()));
    assert_eq!(figures["failures"], json!({"bad_input": 4}));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let bench = ["plan", "bench", "reels_plan_a", "--iterations", "3", "--redis", &nobody];
    let output = world.virtmark(&bench).assert().code(4).stderr(contains("cannot connect to Redis at"));
    let figures: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(figures["failures"], json!({"redis_unreachable": 3}));
    assert_eq!((&figures["p50_us"], &figures["throughput_rps"]), (&Value::Null, &0.0.into()));
}

#[test]
fn a_file_is_checked_and_run() {
    let world = World::new();
    let path = world.path("mine.json");
    let plan = "{\"plan\": \"mine\", \"output\": \"rows\", \"nodes\": {\n  \
                \"rows\": {\"op\": \"source\", \"columns\": [[\"id\", \"int\"]], \"rows\": [[1], [2]]}}}";
    fs::write(&path, plan).unwrap();
    let file = path.to_str().unwrap();
    let facts = world.json(&["plan", "check", file]);
    assert_eq!(
        (&facts["plan"], &facts["offline"], &facts["nodes"]),
        (&"mine".into(), &true.into(), &1.into())
    );
    let result = world.json(&["plan", "run", file, "--input", "{}"]);
    assert_eq!(result["rows"], json!([{"id": 1}, {"id": 2}]));
    fs::write(&path, plan.replace("[2]", "[\"two\"]")).unwrap();
    let place =
        format!("{file}:2:71: /nodes/rows/rows/1/0: a whole number of 64 bits is expected, not a text");
    for command in ["check", "run", "bench"] {
        world.virtmark(&["plan", command, file]).assert().code(2).stdout("").stderr(contains(&place));
    }
}

#[test]
fn what_is_built_in_is_listed() {
    let world = World::new();
    let list = contains("concat_plan").and(contains("regex_plan")).and(contains("parallel_sleep_plan"));
    world.virtmark(&["plan", "list"]).assert().success().stdout(list.and(contains("reels_plan_a")));
    let plans = world.json(&["plan", "list", "--json"]);
    let offline = plans.as_array().unwrap().iter().filter(|plan| plan["offline"] == true);
    let offline: Vec<&str> = offline.map(|plan| plan["plan"].as_str().unwrap()).collect();
    assert_eq!(offline, ["concat_plan", "parallel_sleep_plan", "regex_plan"]);
}

#[test]
fn mistakes_are_told() {
    let world = World::new();
    for (arguments, code, expected) in [
        (&["plan", "run", "conct_plan", "--input", "{}"][..], 26, "there are concat_plan"),
        (&["plan", "run", "concat_plan", "--input", "[1]"], 2, "must be an object"),
        (&["plan", "run", "concat_plan", "--input", "{\"user\": 1}"], 2, "no parameter \"user\""),
        (&["plan", "bench", "concat_plan", "--iterations", "0"], 2, "--iterations"),
        (&["plan", "bench", "concat_plan", "--concurrency", "0"], 2, "--concurrency"),
        (&["plan", "bench", "concat_plan", "--cpu-threads", "0"], 2, "--cpu-threads"),
        (&["plan", "check", "/nowhere.json"], 2, "/nowhere.json:1:1: cannot read the plan"),
        (&["plan", "seed", "--redis", "127.0.0.1:1"], 1, "cannot connect to Redis at 127.0.0.1:1"),
    ] {
        world.virtmark(arguments).assert().code(code).stdout("").stderr(contains(expected));
    }
    world.virtmark(&["plan", "--help"]).assert().success().stdout(contains("Example"));
}
