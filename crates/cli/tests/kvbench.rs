//! Benches through the program, on the bare host: what is done once, what is told, and to whom.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{World, kill, wait_for};
use predicates::str::contains;
use serde_json::{Value, json};

/// A bench of this host, with a payload of one script.
struct Bench {
    world: World,
}

impl Bench {
    fn new(script: &str) -> Self {
        let bench = Self { world: World::new() };
        bench.payload("first", script);
        bench.file("repetitions = 2", &["first"]);
        bench
    }

    fn payload(&self, name: &str, script: &str) {
        let directory = self.world.path(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("payload.toml"), format!("name = \"{name}\"\nversion = \"1\"\n")).unwrap();
        self.world.script(&format!("{name}/payload.sh"), script);
        let archive = self.world.path(&format!("{name}.tgz"));
        let (directory, archive) = (directory.to_str().unwrap(), archive.to_str().unwrap());
        self.world.virtmark(&["payload", "pack", directory, "-o", archive]).assert().success();
    }

    fn file(&self, head: &str, payloads: &[&str]) {
        let root = self.world.path("root");
        let payload = |name: &&str| {
            format!("[[payload]]\nfile = \"{name}.tgz\"\nroot = \"{}/{name}\"\n", root.display())
        };
        let payloads: String = payloads.iter().map(payload).collect();
        let text = format!("{head}\nvia = \"agent\"\n[machines]\nhypervisor = \"native\"\n{payloads}");
        fs::write(self.world.path("bench.toml"), text).unwrap();
    }

    fn kvbench(&self, more: &[&str]) -> assert_cmd::Command {
        let file = self.world.path("bench.toml").to_str().unwrap().to_owned();
        self.world.virtmark(&[&["kvbench"], more, &[file.as_str()]].concat())
    }

    fn runs(&self) -> usize {
        self.world.json(&["runs", "--json"]).as_array().unwrap().len()
    }
}

fn read(output: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

fn statuses(report: &Value) -> Vec<&str> {
    report["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect()
}

#[test]
fn what_is_done_is_not_done_again() {
    let bench = Bench::new("echo virtmark: metric speed 4 count better=higher");
    let checked =
        read(&bench.kvbench(&["check"]).assert().success().stderr(contains("2 of 2 steps are left")));
    assert_eq!((&checked["left"], statuses(&checked)), (&json!(2), vec!["not_run"; 2]));
    assert!(!bench.world.path("bench-results").exists());

    let report =
        read(&bench.kvbench(&[]).assert().success().stderr(contains("bench: 2 of 2 steps are done")));
    assert_eq!((&report["changed"], &report["failed"]), (&json!(true), &json!(false)));
    assert_eq!(statuses(&report), ["done", "done"]);
    let speed = &report["payloads"][0]["metrics"][1];
    assert_eq!(
        (&speed["metric"], &speed["mean"], &speed["values"]),
        (&json!("speed"), &json!(4.0), &json!(2))
    );
    let run = report["steps"][1]["run"].as_str().unwrap();
    let kept = bench.world.path("bench-results").join(run).join("machines/vm-0/stdout");
    assert_eq!(fs::read_to_string(kept).unwrap(), "virtmark: metric speed 4 count better=higher\n");
    let page = fs::read_to_string(bench.world.path("bench-results/report.html")).unwrap();
    assert!(page.contains(run) && page.contains("speed"));
    assert_eq!((bench.runs(), &bench.world.json(&["show", run])["succeeded"]), (2, &json!(1)));

    let again = read(&bench.kvbench(&[]).assert().success());
    assert_eq!((&again["changed"], &again["failed"]), (&json!(false), &json!(false)));
    assert_eq!((statuses(&again), &again["ready_ns"]), (vec!["already_done"; 2], &Value::Null));
    assert_eq!(again["payloads"], report["payloads"]);

    // One more repetition and another payload are what is left.
    bench.payload("second", "exit 0");
    bench.file("repetitions = 3", &["first", "second"]);
    assert_eq!(read(&bench.kvbench(&["check"]).assert().success())["left"], 4);
    let more = read(&bench.kvbench(&[]).assert().success());
    assert_eq!(statuses(&more), ["already_done", "done", "already_done", "done", "done", "done"]);
    let all = read(&bench.kvbench(&["--again"]).assert().success());
    assert_eq!((statuses(&all), bench.runs()), (vec!["done"; 6], 12));
    bench.world.assert_clean();
}

#[test]
fn a_payload_that_fails_is_told_and_tried_again() {
    let bench = Bench::new("exit 0");
    let flag = bench.world.path("flag");
    bench.payload("second", &format!("[ -e {} ] || exit 5", flag.display()));
    bench.file("", &["first", "second"]);
    let report = read(&bench.kvbench(&[]).assert().code(3).stderr(contains("exit code 5")));
    assert_eq!((statuses(&report), &report["failed"]), (vec!["done", "failed"], &json!(true)));
    assert!(report["msg"].as_str().unwrap().contains("1 of 2 steps are done") && report["exit_code"] == 3);

    bench.file("results = \"other\"", &["second"]);
    let told = bench.kvbench(&["--ansible"]).assert().code(4).stderr("");
    assert_eq!((&read(&told)["failed"], &read(&told)["changed"]), (&json!(true), &json!(true)));

    fs::write(flag, "").unwrap();
    bench.file("", &["first", "second"]);
    assert_eq!(statuses(&read(&bench.kvbench(&[]).assert().success())), ["already_done", "done"]);
}

#[test]
fn what_cannot_be_used_is_told_with_its_line_and_to_automation_as_json() {
    let bench = Bench::new("exit 0");
    bench.file("nmae = \"x\"", &["first"]);
    for more in [&["check"][..], &[]] {
        bench
            .kvbench(more)
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains("bench.toml:1:1: unknown field `nmae`"));
    }
    let told = read(&bench.kvbench(&["--ansible"]).assert().code(2).stderr(""));
    assert_eq!(
        (&told["failed"], &told["changed"], &told["exit_code"]),
        (&json!(true), &json!(false), &json!(2))
    );
    assert!(told["msg"].as_str().unwrap().contains("bench.toml:1:"));

    // A payload that lint refuses, one that is not there, and a way in that there is none.
    bench.file("", &["first"]);
    fs::write(bench.world.path("first.tgz"), "no archive").unwrap();
    bench.kvbench(&["check"]).assert().code(2).stderr(contains("is not sent"));
    bench.file("", &["missing"]);
    bench.kvbench(&["check"]).assert().failure().stderr(contains("missing.tgz"));
    let bench = Bench::new("exit 0");
    bench.kvbench(&["--via", "ssh"]).assert().code(2).stderr(contains("by its agent"));
    bench.world.virtmark(&["kvbench"]).assert().code(2).stderr(contains("<FILE>"));
    bench.world.virtmark(&["kvbench", "--help"]).assert().success().stdout(contains("Examples"));

    // What was kept and is damaged is not overwritten.
    let results = bench.world.path("bench-results");
    fs::create_dir(&results).unwrap();
    fs::write(results.join("kvbench.json"), "{").unwrap();
    bench.kvbench(&[]).assert().failure().stderr(contains("move it away"));
    assert_eq!(fs::read_to_string(results.join("kvbench.json")).unwrap(), "{");
}

#[test]
fn the_stop_keeps_what_is_done_and_the_next_start_goes_on() {
    let bench = Bench::new("exit 0");
    let flag = bench.world.path("flag");
    let script = format!("[ -e {0} ] || {{ echo now; : >{0}.seen; exec /bin/sleep 120; }}", flag.display());
    bench.payload("second", &script);
    bench.file("", &["first", "second"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(["kvbench", "--ansible"])
        .arg(bench.world.path("bench.toml"))
        .envs(bench.world.environment())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| bench.world.path("flag.seen").exists());
    let begun = Instant::now();
    kill("TERM", child.id());
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(30));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((statuses(&report), &report["failed"]), (vec!["done", "failed"], &json!(true)));
    bench.world.assert_clean();

    fs::write(flag, "").unwrap();
    assert_eq!(statuses(&read(&bench.kvbench(&[]).assert().success())), ["already_done", "done"]);
}

#[test]
fn machines_are_asked_for_as_people_write_it() {
    let world = World::new();
    for (arguments, expected) in [
        (&["kvrun", "-n", "0"][..], "--replicas"),
        (&["kvrun", "--name", "a_b"], "hyphens"),
        (&["kvrun", "--timeout", "0"], "more than zero"),
        (&["kvrun", "--network", "wifi"], "bridge"),
        (&["kvrun", "--exec", "true", "--detach"], "--detach"),
        (&["kvrun", "--hold"], "--detach"),
        (&["kvrun", "--hypervisor", "native"], "--hypervisor native"),
        (&["kvrun", "down"], "<ID|--all>"),
    ] {
        world.virtmark(arguments).assert().code(2).stdout("").stderr(contains(expected));
    }
    world.virtmark(&["kvrun", "--help"]).assert().success().stdout(contains("--detach --map machines"));
    world.virtmark(&["kvrun", "down", "12345"]).assert().code(26).stderr(contains("kvrun list"));
    world.virtmark(&["kvrun", "down", "--all"]).assert().success().stderr(contains("no machines are set up"));
    assert_eq!(world.json(&["kvrun", "list", "--json"]), json!([]));
}
