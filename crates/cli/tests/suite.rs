//! Suites on the bare host: what they do, what they say of mistakes, and how they are gone on with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, kill, measured, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

const NATIVE: &str = "[[step]]\nrun = \"tti\"\nhypervisor = \"native\"\nwarm_up = 0\n";

/// A suite file with these lines under `[suite]`, and these steps.
fn suite(world: &World, head: &str, steps: &[&str]) -> String {
    let file = world.path("mine.toml");
    std::fs::write(&file, format!("[suite]\nname = \"mine\"\n{head}\n{}", steps.concat())).unwrap();
    file.to_str().unwrap().to_owned()
}

fn native(more: &str) -> String {
    format!("{NATIVE}{more}\n")
}

#[test]
fn steps_are_runs_that_the_suite_ties_together() {
    let world = World::new();
    let file = suite(
        &world,
        "order = \"interleaved\"\nrepetitions = 2",
        &[&native("iterations = 2"), &native("label = \"other\"\niterations = 3\ncmd = \"echo 'a b'\"")],
    );
    let report = world.json(&["suite", "run", &file]);
    let id = report["suite_id"].as_str().unwrap();
    assert_eq!((&report["run_id"], &report["status"]), (&Value::from(id), &Value::from("complete")));
    let steps = report["steps"].as_array().unwrap();
    let turns: Vec<_> =
        steps.iter().map(|step| (&step["label"], &step["repetition"], &step["exit"])).collect();
    assert_eq!(
        serde_json::json!(turns),
        serde_json::json!([["tti", 1, 0], ["other", 1, 0], ["tti", 2, 0], ["other", 2, 0]])
    );
    // What standard output did not get is in the archive, as its own command would have kept it.
    let run = world.json(&["show", steps[3]["run_id"].as_str().unwrap()]);
    assert_eq!(run["iterations_success"], 3);
    assert_eq!(
        run["configuration"]["command_line"],
        serde_json::json!([
            "virtmark",
            "tti",
            "--hypervisor=native",
            "--warmup=0",
            "--iterations=3",
            "--cmd=echo 'a b'"
        ])
    );
    assert_eq!(
        run["configuration"]["suite"],
        serde_json::json!({"id": id, "name": "mine", "step": 2, "label": "other", "repetition": 2})
    );
    assert_eq!(world.json(&["show", id]), report);
    assert_eq!(world.json(&["runs", "--json"]).as_array().unwrap().len(), 5);
    world
        .virtmark(&["suite", "run", &file, "--resume", id])
        .assert()
        .success()
        .stderr(contains("nothing is left"));
    world.assert_clean();
}

#[test]
fn every_mistake_is_told_with_its_line_and_nothing_is_measured() {
    let world = World::new();
    let file = suite(
        &world,
        "orders = \"given\"",
        &[&native("iteration = 5\nmode = \"brust\""), "[[step]]\nrun = \"runs\"\n", "[[step]]\nrun = 5\n"],
    );
    for command in ["check", "run"] {
        world.virtmark(&["suite", command, &file]).assert().code(2).stdout("").stderr(
            contains("5 mistakes")
                .and(contains("mine.toml:3:1: unknown key \"orders\""))
                .and(contains("mine.toml:8:1: unknown key \"iteration\" of `tti`: did you mean iterations?"))
                .and(contains("mine.toml:9:8: invalid value 'brust'"))
                .and(contains("mine.toml:11:7: \"runs\" is no measurement"))
                .and(contains("mine.toml:13:7: run is a command")),
        );
    }
    assert!(!world.archive().exists());
    world.virtmark(&["suite", "run", "quack"]).assert().code(1).stderr(contains("quick, standard"));
}

#[test]
fn check_says_what_would_be_run() {
    let world = World::new();
    let file = suite(
        &world,
        "order = \"random\"\nseed = 3\nrepetitions = 2",
        &[&native("iterations = 1"), &native("iterations = 2")],
    );
    let plan = world.json(&["suite", "check", &file]);
    assert_eq!((&plan["order"], &plan["seed"]), (&Value::from("random"), &Value::from(3)));
    let schedule = plan["schedule"].as_array().unwrap();
    assert_eq!(schedule.len(), 4);
    assert!(schedule.iter().all(|turn| turn["command"][1] == "tti"));
    assert_eq!(world.json(&["suite", "check", &file]), plan);
}

#[test]
fn suites_that_are_built_in_can_be_checked_and_written_out() {
    let world = World::new();
    for name in ["quick", "standard"] {
        assert_eq!(world.json(&["suite", "check", name])["name"], name);
        let text = world.virtmark(&["suite", "show", name]).assert().success().get_output().stdout.clone();
        let file = world.path("shown.toml");
        std::fs::write(&file, text).unwrap();
        world.virtmark(&["suite", "check", file.to_str().unwrap()]).assert().success();
    }
}

#[test]
fn a_step_that_fails_is_recorded_and_the_others_go_on_unless_told_otherwise() {
    let world = World::new();
    let broken = "[[step]]\nrun = \"tti\"\nlabel = \"broken\"\nqemu = \"/nonexistent/qemu\"\n";
    let good = native("label = \"good\"\niterations = 2");
    let file = suite(&world, "", &[broken, &good]);
    let output = world.virtmark(&["suite", "run", &file]).assert().code(3).get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&report["succeeded"], &report["failed"]), (&Value::from(1), &Value::from(1)));
    assert_eq!(report["steps"][0]["exit"], 10);
    assert_eq!(report["steps"][0]["run_id"], Value::Null);
    assert!(report["steps"][0]["message"].as_str().unwrap().contains("/nonexistent/qemu"));
    assert_eq!(report["steps"][1]["exit"], 0);

    let file = suite(&world, "stop_on_failure = true", &[broken, &good]);
    let output = world.virtmark(&["suite", "run", &file]).assert().code(10).get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    assert_eq!((&report["failed"], &report["skipped"]), (&Value::from(1), &Value::from(1)));
    assert!(report["steps"][1]["message"].as_str().unwrap().contains("broken failed"));
    assert_eq!(report["steps"][1]["run_id"], Value::Null);
}

#[test]
fn an_interrupted_suite_keeps_what_is_done_and_goes_on_with_the_rest() {
    let world = World::new();
    let slow = native("label = \"slow\"\niterations = 20\ncmd = \"sleep 0.1\"");
    let first = native("label = \"first\"\niterations = 2");
    let file = suite(&world, "", &[&first, &slow]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(["suite", "run", &file])
        .envs(world.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Two samples and the step of the first, and two of the second.
    wait_for(|| measured(&world) >= 5);
    kill("INT", child.id());
    let started = Instant::now();
    wait_for(|| child.try_wait().unwrap().is_some());
    assert!(started.elapsed() < Duration::from_secs(10));
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["status"], "interrupted");
    assert_eq!(report["steps"].as_array().unwrap().len(), 1);
    let id = report["suite_id"].as_str().unwrap();
    assert!(errors.contains(&format!("--resume {id}")), "{errors}");

    let rest = world.json(&["suite", "run", &file, "--resume", id]);
    assert_eq!(rest["suite_id"], id);
    assert_ne!(rest["run_id"], id);
    let labels: Vec<&Value> = rest["steps"].as_array().unwrap().iter().map(|step| &step["label"]).collect();
    assert_eq!(labels, ["first", "slow"]);
    assert_eq!(rest["steps"][0], report["steps"][0]);
    // By the id of the part as well, and nothing is left then.
    let part = rest["run_id"].as_str().unwrap();
    world
        .virtmark(&["suite", "run", &file, "--resume", part])
        .assert()
        .success()
        .stderr(contains("nothing is left"));
    world.assert_clean();

    let other = suite(&world, "", &[&first, &native("label = \"slow\"\niterations = 21")]);
    world
        .virtmark(&["suite", "run", &other, "--resume", id])
        .assert()
        .code(2)
        .stderr(contains("its steps differ from what was begun"));
    let run = report["steps"][0]["run_id"].as_str().unwrap();
    world.virtmark(&["suite", "run", &other, "--resume", "nothing"]).assert().code(26);
    world
        .virtmark(&["tti", "--hypervisor", "native", "--iterations", "1", "--warmup", "0"])
        .assert()
        .success();
    world.virtmark(&["suite", "run", &other, "--resume", "tti-"]).assert().code(26);
    assert!(run.starts_with("tti-"));
    world
        .virtmark(&["suite", "run", &other, "--resume", "latest"])
        .assert()
        .code(2)
        .stderr(contains("is no part of a suite"));
}

#[test]
fn a_killed_suite_goes_on_and_what_failed_before_counts() {
    let world = World::new();
    // On the second machine, which finds the directory made, the command kills the agent: of this step, some succeeded.
    let command = format!("mkdir '{}' || kill -KILL $PPID", world.path("made").display());
    let partly = native(&format!("label = \"partly\"\niterations = 2\ncmd = \"{command}\""));
    // From its fourth machine on the step waits until it is let go on.
    let (begun, go) = (world.path("begun"), world.path("go"));
    let command = format!(
        "echo >> '{0}'; while [ $(wc -l < '{0}') -gt 3 ] && [ ! -e '{1}' ]; do sleep 0.05; done",
        begun.display(),
        go.display()
    );
    let slow = native(&format!("label = \"slow\"\niterations = 6\ncmd = \"{command}\""));
    let file = suite(&world, "", &[&partly, &slow]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(["suite", "run", &file])
        .envs(world.environment())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| measured(&world) >= 5);
    let named = |selector: &str| world.json(&["show", selector]);
    let id = named("suite-")["suite_id"].as_str().unwrap().to_owned();
    world
        .virtmark(&["suite", "run", &file, "--resume", &id])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains(format!("{id} is being run")));
    kill("KILL", child.id());
    wait_for(|| child.try_wait().unwrap().is_some());
    std::fs::write(go, "").unwrap();
    let begun = named(&id);
    assert_eq!((&begun["status"], &begun["left"]), (&Value::from("interrupted"), &Value::from(1)));
    world.virtmark(&["runs"]).assert().success().stdout(contains(" killed").and(contains(" running").not()));

    let resume = |selector: &str| {
        let output = world.virtmark(&["suite", "run", &file, "--resume", selector]).assert().code(3);
        let output = output.get_output();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (whole, told) = resume(&id);
    assert!(told.contains("1 of 2 steps of mine") && told.contains("made in 2 parts"), "{told}");
    let steps = whole["steps"].as_array().unwrap();
    let ends: Vec<_> = steps.iter().map(|step| (&step["label"], &step["exit"])).collect();
    assert_eq!(serde_json::json!(ends), serde_json::json!([["partly", 3], ["slow", 0]]));
    assert_eq!(
        [&whole["status"], &whole["succeeded"], &whole["failed"], &whole["left"]],
        [&Value::from("complete"), &Value::from(1), &Value::from(1), &Value::from(0)]
    );
    let part = whole["run_id"].as_str().unwrap();
    assert_eq!(whole["parts"], serde_json::json!([id, part]));
    // Nothing is left then; the suite is as it was, by either id.
    let (again, told) = resume(part);
    assert!(told.contains("nothing is left"), "{told}");
    for same in [again, named(&id), named(part)] {
        assert_eq!(same, whole);
    }
    let markdown = world.virtmark(&["report", &id, "--format", "markdown"]).assert().success();
    let markdown = String::from_utf8_lossy(&markdown.get_output().stdout).into_owned();
    assert!(markdown.contains("1 of 2 steps succeeded, 1 failed"), "{markdown}");
    // What was measured of the step that was killed is a run of its own, and kept.
    assert_eq!(world.json(&["runs", "--json"]).as_array().unwrap().len(), 5);
    world.assert_clean();
}

#[test]
fn what_the_time_does_not_suffice_for_is_left_out_and_can_be_run_later() {
    let world = World::new();
    let steps = [&native("iterations = 1"), &*native("label = \"later\"\niterations = 1")];
    let file = suite(&world, "time_limit = \"0s\"", &steps);
    let output = world.virtmark(&["suite", "run", &file]).assert().success();
    let output = output.get_output();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["skipped"], &report["left"]), (&Value::from(2), &Value::from(0)));
    assert!(report["steps"][1]["message"].as_str().unwrap().contains("time_limit of 0 ns was over"));
    let id = report["suite_id"].as_str().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(&format!("to go on: virtmark suite run {file} --resume {id}")), "{errors}");

    // The time may change; what is measured may not.
    let file = suite(&world, "time_limit = \"1h\"", &steps);
    let whole = world.json(&["suite", "run", &file, "--resume", id]);
    assert_eq!((&whole["succeeded"], &whole["skipped"]), (&Value::from(2), &Value::from(0)));
}

#[test]
fn a_suite_that_cannot_be_kept_is_not_run() {
    let world = World::new();
    let file = suite(&world, "", &[&native("iterations = 1")]);
    std::fs::write(world.path("occupied"), "no archive").unwrap();
    let place = world.path("occupied").join("archive.sqlite");
    world
        .virtmark(&["suite", "run", &file, "--archive", place.to_str().unwrap()])
        .assert()
        .failure()
        .stdout("")
        .stderr(contains("occupied"));
}

#[test]
fn a_report_of_a_suite_has_its_steps_its_platforms_and_how_to_repeat_it() {
    let world = World::new();
    let broken = "[[step]]\nrun = \"tti\"\nlabel = \"broken\"\nqemu = \"/nonexistent/qemu\"\n";
    let steps = [
        &native("label = \"first\"\niterations = 7"),
        broken,
        &native("label = \"burst\"\nmode = \"burst\"\niterations = 2"),
    ];
    let file = suite(&world, "repetitions = 2", &steps);
    let output = world.virtmark(&["suite", "run", &file]).assert().code(3).get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    let id = report["suite_id"].as_str().unwrap();

    let page = world.path("suite.html");
    world.virtmark(&["report", id, "-o", page.to_str().unwrap()]).assert().success().stdout("");
    let html = std::fs::read_to_string(&page).unwrap();
    for expected in [
        "suite mine",
        "Steps of the suite",
        "4 of 6 steps succeeded, 2 failed",
        "first #2",
        "Platforms",
        "mode burst",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    let markdown = world
        .virtmark(&["report", id, "--format", "markdown"])
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let markdown = String::from_utf8(markdown).unwrap();
    for expected in
        ["# virtmark: suite mine", "| first \\#2 |", "label = \"first\"", "virtmark tti --hypervisor=native"]
    {
        assert!(markdown.contains(expected), "{expected} in\n{markdown}");
    }
    // Two runs of the same work are one line.
    let platforms = markdown.split("## Platforms").nth(1).unwrap().split("## ").next().unwrap();
    assert_eq!(platforms.matches("| A, B |").count(), 1, "{platforms}");

    world
        .virtmark(&["report", id, "-o", "/nonexistent/suite.html"])
        .assert()
        .failure()
        .stdout("")
        .stderr(contains("cannot write /nonexistent/suite.html").and(contains("-o")));
    let only_broken = suite(&world, "", &[broken]);
    let output =
        world.virtmark(&["suite", "run", &only_broken]).assert().code(10).get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).unwrap();
    let id = report["suite_id"].as_str().unwrap();
    world.virtmark(&["report", id]).assert().code(26).stderr(contains("made a run"));
}
