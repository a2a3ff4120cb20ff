//! Comparisons from the command line, on the bare host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

/// Two configurations of which one sleeps so much longer that no host's noise hides it.
const TURNS: [&str; 12] = [
    "compare",
    "--interleave",
    "--a",
    "--cmd 'sleep 0.01'",
    "--b",
    "--cmd 'sleep 0.25'",
    "--",
    "tti",
    "--hypervisor",
    "native",
    "--iterations",
    "10",
];

/// The newest runs of configurations that took turns: A, B.
fn pair(world: &World) -> [String; 2] {
    let runs = world.json(&["runs", "--json"]);
    let side = |name: &str| {
        let mut ids = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
        ids.find(|id| {
            let run = world.json(&["export", id, "--format", "json"]);
            run["run"]["configuration"]["interleaved"]["side"] == name
        })
        .unwrap()
    };
    [side("a"), side("b")]
}

#[test]
fn configurations_that_take_turns_are_judged_and_can_be_compared_again() {
    let world = World::new();
    let output = world.virtmark(&TURNS).assert().code(5).stderr(contains("worse").and(contains("B / A")));
    let printed: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(printed["verdict"], "worse");
    assert_eq!(printed["interleaved"], true);
    let metric = &printed["metrics"][0];
    assert_eq!((&metric["metric"], &metric["a"]["blocks"]), (&"tti".into(), &10.into()));
    assert!(metric["ratio"].as_f64().unwrap() > 1.05, "{metric}");
    assert_eq!(printed["differences"][0]["what"], "command");
    let [a, b] = pair(&world);
    assert_eq!((&printed["run_a"], &printed["run_b"]), (&a.as_str().into(), &b.as_str().into()));
    // Both are runs like any other.
    let report = world.json(&["show", &a]);
    assert_eq!(report["iterations_success"], 10);
    assert_eq!(report["status"], "complete");
    let again = world.virtmark(&["compare", &a, &b, "-q"]).assert().code(5);
    assert_eq!(serde_json::from_slice::<Value>(&again.get_output().stdout).unwrap(), printed);
    // The other way round B is better, and says so to people as well.
    world
        .virtmark(&["compare", &b, &a, "--format", "table"])
        .assert()
        .code(0)
        .stdout(contains("better").and(contains("in 10 blocks")));
    let markdown = world.virtmark(&["compare", &a, &b, "--format", "markdown"]).assert().code(5);
    markdown.stdout(contains("| metric | A | B |").and(contains("| worse |")));
    world.assert_clean();
}

#[test]
fn lifecycles_take_turns_operation_by_operation() {
    let world = World::new();
    let output = world
        .virtmark(&[
            "compare",
            "--interleave",
            "--b",
            "",
            "--blocks",
            "2",
            "--",
            "lifecycle",
            "--hypervisor",
            "native",
            "--iterations",
            "3",
            "--warmup",
            "1",
        ])
        .assert()
        .code(0)
        .stderr(contains("2 blocks cannot show"));
    let printed: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!((&printed["scenario"], &printed["interleaved"]), (&"lifecycle".into(), &true.into()));
    let metrics: Vec<_> =
        printed["metrics"].as_array().unwrap().iter().map(|metric| metric["metric"].clone()).collect();
    assert_eq!(metrics, ["vm_creation", "vm_destroy", "vm_shutdown", "vm_startup"]);
    for metric in printed["metrics"].as_array().unwrap() {
        assert_eq!((&metric["a"]["succeeded"], &metric["b"]["blocks"]), (&3.into(), &2.into()), "{metric}");
        assert!(metric["ratio"].as_f64().unwrap() > 0.0, "{metric}");
    }
    // What the bare host cannot do stands in each run once, as in a run of the command itself.
    for side in pair(&world) {
        let report = world.json(&["show", &side]);
        assert_eq!(report["vm_startup_time_ms"]["samples"].as_array().unwrap().len(), 3);
        assert!(report["snapshot_time_ms"]["skipped"].as_str().unwrap().contains("kept in a file"));
        let run = world.json(&["export", &side, "--format", "json"]);
        let skipped =
            run["samples"].as_array().unwrap().iter().filter(|sample| sample["metric"] == "snapshot");
        assert_eq!(skipped.count(), 1);
        let page = world.virtmark(&["report", &side, "--format", "markdown"]).output().unwrap();
        assert!(
            page.status.success()
                && String::from_utf8(page.stdout).unwrap().contains("vm\\_startup | A | 3 |")
        );
    }
    world.assert_clean();
}

#[test]
fn what_the_platform_cannot_do_is_not_compared() {
    let world = World::new();
    world
        .virtmark(&[
            "compare",
            "--interleave",
            "--b",
            "",
            "--",
            "restore",
            "--hypervisor",
            "native",
            "--iterations",
            "10",
        ])
        .assert()
        .code(24)
        .stdout("")
        .stderr(contains("no restore to compare on native: processes of the host cannot be kept in a file"));
    let [a, b] = pair(&world);
    assert_ne!(a, b);
    world.assert_clean();
}

#[test]
fn runs_of_different_things_are_refused_unless_that_is_wanted() {
    let world = World::new();
    let tti = |command: &str| {
        let arguments =
            ["tti", "--hypervisor", "native", "--iterations", "6", "--warmup", "0", "--cmd", command];
        world.json(&arguments)["run_id"].as_str().unwrap().to_owned()
    };
    let (a, b) = (tti("true"), tti("echo other"));
    world
        .virtmark(&["compare", &a, &b])
        .assert()
        .code(7)
        .stdout("")
        .stderr(contains("results of different things").and(contains("--allow configuration")));
    let allowed = world.json(&["compare", &a, &b, "--allow", "configuration", "--min-effect", "1000%"]);
    assert_eq!(allowed["differences"].as_array().unwrap().len(), 1);
    assert!(allowed["notes"][0].as_str().unwrap().contains("different times"));
    // Two blocks cannot tell anything, which is a failure only where that is asked for.
    let few = ["compare", &a, &a, "--blocks", "2"];
    world.virtmark(&few).assert().code(0).stderr(contains("cannot tell"));
    world.virtmark(&[&few[..], &["--strict"]].concat()).assert().code(6).stderr(contains("2 blocks cannot"));
    world.virtmark(&["compare", &a, &a, "--metric", "speed"]).assert().code(26).stderr(contains("but tti"));
    world.virtmark(&["compare", &a, "no-such-run"]).assert().code(26);
}

#[test]
fn one_configuration_against_itself_says_how_often_it_is_wrong() {
    let world = World::new();
    let aa = ["aa", "--comparisons", "1", "--", "tti", "--hypervisor", "native", "--iterations", "10"];
    let first = world.json(&aa);
    let rate = &first["false_alarms"]["interleaved"];
    assert_eq!(rate["comparisons"], 1);
    assert!(rate["alarms"].as_u64().unwrap() <= 1 && rate["interval"]["high"].as_f64().unwrap() > 0.9);
    assert_eq!(first["false_alarms"]["separate"]["interval"], Value::Null);
    // Those before count as well, and a comparison shows them.
    let second = world.json(&aa);
    assert_eq!(second["these_runs"]["interleaved"]["comparisons"], 1);
    assert_eq!(second["false_alarms"]["interleaved"]["comparisons"], 2);
    let [a, b] = pair(&world);
    let output = world.virtmark(&["compare", &a, &b]).output().unwrap();
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(compared["false_alarms"], second["false_alarms"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("false alarms of this installation"));
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    let world = World::new();
    let archive = world.archive().to_str().unwrap().to_owned();
    for (arguments, expected) in [
        (&["compare"][..], "<RUN>"),
        (&["compare", "one"], "2"),
        (&["compare", "a", "b", "--allow", "weather"], "hypervisor"),
        (&["compare", "a", "b", "--min-effect", "5"], "such as 5%"),
        (&["compare", "a", "b", "--confidence", "100%"], "99.9%"),
        (&["compare", "a", "b", "--metric", "m:up"], "NAME:higher"),
        (&["compare", "--interleave", "--b", "--vcpus 2"], "--interleave"),
        (&["compare", "--interleave", "--b", "", "--", "doctor"], "only tti, lifecycle and restore"),
        (&["compare", "--interleave", "--a", "restore", "--b", "tti", "--", "-q"], "do the same"),
        (&["compare", "--interleave", "--b", "", "--", "lifecycle", "--format", "csv"], "before the --"),
        (&["compare", "--interleave", "--b", "", "--", "restore", "--mode", "burst"], "--mode"),
        (&["aa", "--", "lifecycle", "--iterations", "49"], "--iterations 50"),
        (&["compare", "--interleave", "--b", "--vcpus x", "--", "tti"], "--vcpus"),
        (&["compare", "--interleave", "--b", "--cmd 'x", "--", "tti"], "quote"),
        (&["compare", "--interleave", "--b", "--iterations 3", "--", "tti"], "equally many"),
        (&["compare", "--interleave", "--b", "", "--", "tti", "--mode", "burst"], "--mode"),
        (&["compare", "--interleave", "--b", "", "--", "tti", "--iterations", "4"], "--iterations 10"),
        (&["compare", "--interleave", "--b", "", "--", "tti", "--archive", &archive], "before the --"),
        (&["aa", "--comparisons", "9", "--", "tti"], "--iterations 90"),
        (&["aa"], "COMMAND"),
        (&["tune", "--metric", "m:up", "--", "tti"], "NAME:higher"),
    ] {
        world.virtmark(arguments).assert().code(2).stderr(contains(expected)).stdout("");
    }
}

#[test]
fn a_remedy_that_cannot_be_had_is_skipped_with_the_reason() {
    let world = World::new();
    let output = world
        .virtmark(&["tune", "--", "tti", "--hypervisor", "native", "--iterations", "10"])
        .assert()
        .success()
        .stderr(contains("skipped").and(contains("it is for machines of QEMU")));
    let tried: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let names: Vec<_> = tried.as_array().unwrap().iter().map(|tried| tried["remedy"].clone()).collect();
    let all = [
        "cache-none",
        "cpu-max",
        "hugepages",
        "iothread",
        "kvm-clock",
        "multiqueue",
        "pin",
        "queue-size",
        "topology",
        "vhost",
    ];
    assert_eq!(names, all);
    for (name, tried) in all.iter().zip(tried.as_array().unwrap()) {
        let reason = tried["skipped"].as_str().unwrap();
        assert!(reason.contains(&format!("cannot try {name}: it is for machines of QEMU")), "{reason}");
    }
    // Nothing was measured for it.
    assert!(world.json(&["runs", "--json"]).as_array().unwrap().is_empty());
    world.virtmark(&["tune", "--try", "prayer", "--", "tti"]).assert().code(2).stderr(contains("iothread"));
}
