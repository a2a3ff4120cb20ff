//! Remedies on real machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::str::contains;
use serde_json::Value;

#[test]
fn real_machines_with_a_remedy_take_turns_with_those_without() {
    let world = World::real();
    let output = world
        .virtmark(&[
            "tune",
            "--try",
            "iothread,vhost,cpu-max",
            "--blocks",
            "2",
            "--metric",
            "tti",
            "--",
            "tti",
            "--accel",
            "tcg",
            "--iterations",
            "2",
            "--warmup",
            "0",
        ])
        .assert()
        .success()
        .stderr(contains("the machine has no disk"));
    let tried: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(tried[0]["remedy"], "iothread");
    assert!(tried[0]["skipped"].as_str().unwrap().contains("the image bench has one"));
    assert!(tried[1]["skipped"].as_str().unwrap().contains("no network with a tap"));
    let comparison = &tried[2]["comparison"];
    let metric = &comparison["metrics"][0];
    assert_eq!((&metric["a"]["succeeded"], &metric["b"]["succeeded"]), (&2.into(), &2.into()));
    assert!(metric["ratio"].as_f64().unwrap() > 0.0);
    // Two blocks are no evidence.
    assert_eq!(comparison["verdict"], "cannot_tell");
    assert_eq!(comparison["differences"][0]["b"], "\"cpu-max\"");
    let show = |side: &str| world.json(&["show", comparison[side].as_str().unwrap()]);
    let machine =
        |run: &Value| run["environment"]["hypervisor"]["configuration"].as_str().unwrap().to_owned();
    assert!(machine(&show("run_a")).contains("cpu qemu64,"), "{}", machine(&show("run_a")));
    let with = machine(&show("run_b"));
    assert!(with.contains("cpu max,") && with.ends_with("with cpu-max"), "{with}");
    // What advice is held against: all that is usual, but for the remedy.
    let facts = |side: &str| show(side)["environment"]["hypervisor"]["machine"].clone();
    let (mut expected, with) = (facts("run_a"), facts("run_b"));
    assert_eq!((&expected["cpu_model"], &expected["disk_cache"]), (&"qemu64".into(), &"writeback".into()));
    expected["cpu_model"] = "max".into();
    assert_eq!(with, expected);
    world.assert_clean();
}
