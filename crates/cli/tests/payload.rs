//! Payloads through the program: new, pack, lint, run, and what is told when they cannot be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use common::{World, kill, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

/// A packed payload with this script.
fn payload(world: &World, script: &str, manifest: &str) -> String {
    let directory = world.path("source");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("payload.toml"), manifest).unwrap();
    fs::write(directory.join("payload.sh"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(directory.join("payload.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let file = world.path("p.tgz").display().to_string();
    world.virtmark(&["payload", "pack", directory.to_str().unwrap(), "-o", &file]).assert().success();
    file
}

/// Arguments of `payload run` in this world.
fn run_arguments(world: &World, file: &str, more: &[&str]) -> Vec<String> {
    let (root, output) = (world.path("root"), world.path("output"));
    let places = ["--root", root.to_str().unwrap(), "--output", output.to_str().unwrap()].map(str::to_owned);
    let start = ["payload", "run", file].map(str::to_owned);
    start.into_iter().chain(places).chain(more.iter().map(|more| (*more).to_owned())).collect()
}

fn run(world: &World, file: &str, more: &[&str]) -> assert_cmd::assert::Assert {
    let arguments = run_arguments(world, file, more);
    world.virtmark(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).assert()
}

fn json(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

#[test]
fn from_nothing_to_a_result() {
    let world = World::new();
    let here = |arguments: &[&str]| {
        let mut command = world.virtmark(arguments);
        command.current_dir(world.directory.path());
        command.assert()
    };
    here(&["payload", "new", "mine"]).success().stderr(contains("virtmark payload pack mine"));
    let packed = here(&["payload", "pack", "mine"]).success();
    let told = String::from_utf8(packed.get_output().stdout.clone()).unwrap();
    assert_eq!(told.split_once("  ").unwrap().1, "mine-0.1.tgz\n");
    here(&["payload", "lint", "mine-0.1.tgz"]).code(0).stdout(contains("mine-0.1.tgz: clean (2 entries"));
    let report = json(&here(&["payload", "lint", "--json", "mine-0.1.tgz"]).code(0));
    assert_eq!((&report["verdict"], &report["file"]), (&"clean".into(), &"mine-0.1.tgz".into()));
    assert!(told.starts_with(report["sha256"].as_str().unwrap()));
    let file = world.path("mine-0.1.tgz").display().to_string();
    let result = json(&run(&world, &file, &["-p", "ROUNDS=20"]).success().stderr(contains("1 results")));
    assert_eq!((&result["ended"], &result["exit_code"]), (&"exited".into(), &0.into()));
    assert_eq!(
        (&result["metrics"][0]["name"], &result["metrics"][0]["unit"]),
        (&"listing".into(), &"ms".into())
    );
    assert!(world.path("root/payload.sh").exists() && world.path("output/stdout").exists());
    here(&["payload", "new", "mine"]).code(2).stderr(contains("already"));
    here(&["payload", "new", "../mine"]).code(2).stderr(contains("no name of a payload"));
}

#[test]
fn lint_exits_with_0_1_or_2() {
    let world = World::new();
    let clean = payload(&world, "exit 0", "");
    world.virtmark(&["payload", "lint", &clean]).assert().code(0).stderr("");
    let bytes = fs::read(&clean).unwrap();
    world
        .virtmark(&["payload", "lint", "-"])
        .write_stdin(bytes)
        .assert()
        .code(0)
        .stdout(contains("-: clean"));
    let warned = payload(&world, "exit 0", "unknown = 1");
    world.virtmark(&["payload", "lint", &warned]).assert().code(1).stdout(
        contains("warning[manifest-unknown-key] payload.toml:").and(contains("0 errors, 1 warnings")),
    );
    let bad = world.path("bad.tgz");
    fs::write(&bad, "nothing").unwrap();
    let lint =
        world.virtmark(&["payload", "lint", "--json", bad.to_str().unwrap()]).assert().code(2).stderr("");
    let report = json(&lint);
    assert_eq!((&report["verdict"], &report["complete"]), (&"errors".into(), &false.into()));
    assert_eq!(report["findings"][0]["code"], "not-gzip");
    // Neither may look like warnings.
    let none = world.path("none.tgz").display().to_string();
    world.virtmark(&["payload", "lint", &none]).assert().code(2).stdout("").stderr(contains("none.tgz"));
    world.virtmark(&["payload", "lint", "/"]).assert().code(2).stdout("").stderr(contains("cannot read /"));
    world
        .virtmark(&["payload", "lint", "--max-entries", "1", &clean])
        .assert()
        .code(2)
        .stdout(contains("too-many"));
}

#[test]
fn how_a_run_ended_is_the_exit_code() {
    let world = World::new();
    let file = payload(&world, "echo out; echo err >&2; exit 7", "");
    let failed = run(&world, &file, &[]).code(4).stderr(contains("failed with exit code 7"));
    assert_eq!(json(&failed)["exit_code"], 7);
    assert_eq!(fs::read(world.path("output/stdout")).unwrap(), b"out\n");
    assert_eq!(fs::read(world.path("output/stderr")).unwrap(), b"err\n");

    let file = payload(&world, "/bin/sleep 1000", "");
    let late = run(&world, &file, &["--timeout", "100ms"]).code(27).stderr(contains("ran out of time"));
    assert_eq!(json(&late)["ended"], "timed_out");

    let file = payload(&world, "echo 'virtmark: metric a b c'", "");
    run(&world, &file, &[]).code(0).stderr(contains("line 1 of the output is no metric"));

    let file = payload(&world, "", "tools = ['no-such-tool']");
    run(&world, &file, &[]).code(24).stdout("").stderr(contains("no-such-tool"));
    fs::write(world.path("p.tgz"), "").unwrap();
    run(&world, &file, &[]).code(2).stdout("").stderr(contains("[not-gzip]"));
    run(&world, &file, &["-p", "PATH=/bin"]).code(2).stderr(contains("no parameter"));
    run(&world, &world.path("none").display().to_string(), &[]).code(1).stderr(contains("cannot read"));
}

#[test]
fn ctrl_c_ends_the_payload_and_keeps_its_output() {
    let world = World::new();
    let file = payload(&world, "echo $$; exec /bin/sleep 1000", "");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_virtmark"));
    command.envs(world.environment()).args(run_arguments(&world, &file, &[]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let recorded: PathBuf = world.path("output/stdout");
    wait_for(|| fs::read_to_string(&recorded).is_ok_and(|text| text.ends_with('\n')));
    let pid = fs::read_to_string(&recorded).unwrap();
    kill("INT", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["ended"], &result["stdout"]["bytes"]), (&"interrupted".into(), &pid.len().into()));
    assert!(!PathBuf::from(format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn what_is_no_payload_is_not_packed() {
    let world = World::new();
    let directory = world.path("empty");
    fs::create_dir(&directory).unwrap();
    let output = world.path("out.tgz");
    let pack = ["payload", "pack", directory.to_str().unwrap(), "-o", output.to_str().unwrap()];
    world.virtmark(&pack).assert().code(2).stderr(contains("error[no-entry-point]"));
    assert!(!output.exists());
    world
        .virtmark(&["payload", "pack", "/nonexistent", "-o", "x.tgz"])
        .assert()
        .code(1)
        .stderr(contains("/nonexistent"));
}
