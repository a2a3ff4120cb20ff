//! Payloads on many machines, through the program: exits, files, archive, what is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "../../fleet/tests/support/mod.rs"]
mod machines;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::World;
use machines::{ROOT, Sshd, free_port, make_key, payload};
use predicates::str::contains;
use serde_json::{Value, json};

const SCRIPT: &str = "echo hello; echo careful >&2; read -r number <$BENCH_ROOT/number; \
                      echo \"virtmark: metric rate $number events/s better=higher\"";

/// Machines with a map and an authentication file.
struct Lab {
    world: World,
    servers: Vec<Sshd>,
}

impl Lab {
    fn new(count: usize) -> Self {
        let world = World::new();
        let key = world.path("key");
        make_key(&key);
        let start = |at: usize| {
            let server = Sshd::start(world.directory.path(), &format!("vm-{at}"), &key);
            fs::write(server.far_root().join("number"), format!("{}\n", 100 * (at + 1))).unwrap();
            server
        };
        let servers: Vec<Sshd> = (0..count).map(start).collect();
        let auth = json!({
            "user": user(),
            "method": "key",
            "details": {"file": key},
            "known_hosts": {"policy": "accept-new", "file": world.path("known")},
        });
        fs::write(world.path("auth.json"), auth.to_string()).unwrap();
        let lab = Self { world, servers };
        lab.map("");
        lab
    }

    fn map(&self, more: &str) {
        let lines: String = self.servers.iter().map(Sshd::line).collect();
        fs::write(self.world.path("map"), format!("# machines\n{lines}{more}")).unwrap();
    }

    fn payload(&self, script: &str) -> String {
        self.text(&payload(self.world.directory.path(), "load", script, b""))
    }

    fn text(&self, path: &Path) -> String {
        path.to_str().unwrap().to_owned()
    }

    fn vmrun(&self, payload: &str, more: &[&str]) -> assert_cmd::Command {
        let of = |name: &str| self.text(&self.world.path(name));
        let (map, auth, output) = (of("map"), of("auth.json"), of("out"));
        let mut arguments = vec!["vmrun", "-H", &map, "-A", &auth, "-o", &output];
        // What a test gives itself is not given twice.
        for (name, value) in [("--root", ROOT), ("--id", "run-1")] {
            if !more.contains(&name) {
                arguments.extend([name, value]);
            }
        }
        arguments.extend(more);
        arguments.push(payload);
        self.world.virtmark(&arguments)
    }

    fn results(&self, name: &str) -> PathBuf {
        self.world.path("out").join("run-1").join(name)
    }
}

/// Who runs this, whatever the environment says.
fn user() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn read(output: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&output.get_output().stdout).unwrap()
}

#[test]
fn a_run_is_in_its_directory_and_in_the_archive() {
    let lab = Lab::new(3);
    let payload = lab.payload(SCRIPT);
    let output = lab.vmrun(&payload, &[]).assert().success().stderr(contains("3 of 3 machines succeeded"));
    let report = read(&output);
    assert_eq!(
        (&report["run"], &report["succeeded"], &report["failed"]),
        (&json!("run-1"), &json!(3), &json!(0))
    );
    let rate =
        report["metrics"].as_array().unwrap().iter().find(|metric| metric["metric"] == "rate").unwrap();
    assert_eq!(
        (&rate["mean"], &rate["spread"], &rate["unit"]),
        (&json!(200.0), &json!(100.0), &json!("per_second"))
    );
    assert_eq!(rate["slowest"], json!({"machine": "vm-0", "value": 100.0}));

    let result = fs::read_to_string(lab.results("run-1-result")).unwrap();
    assert!(result.starts_with("### vm-0\nhello\nvirtmark: metric rate 100"), "{result}");
    assert_eq!(result.matches("### ").count(), 3);
    let errors = fs::read_to_string(lab.results("run-1-errors")).unwrap();
    assert_eq!(errors, "### vm-0\ncareful\n### vm-1\ncareful\n### vm-2\ncareful\n");
    let one: Value =
        serde_json::from_slice(&fs::read(lab.results("machines/vm-1/result.json")).unwrap()).unwrap();
    assert_eq!(
        (&one["exit_code"], &one["succeeded"], &one["metrics"][0]["value"]),
        (&json!(0), &json!(true), &json!(200.0))
    );
    let stages: Vec<&str> =
        one["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["ready", "upload", "unpack", "run", "collect"]);
    let all: Value = serde_json::from_slice(&fs::read(lab.results("run.json")).unwrap()).unwrap();
    assert_eq!((&all["run"], all["details"].as_array().unwrap().len()), (&json!("run-1"), 3));

    // The same figures, computed again from the samples.
    let shown = lab.world.json(&["show", "run-1"]);
    assert_eq!(shown["metrics"], report["metrics"]);
    assert_eq!(shown["machines"], report["machines"]);

    let again =
        lab.vmrun(&payload, &[]).assert().failure().stderr(contains("choose another place with --output"));
    assert_eq!(again.get_output().stdout, b"");
}

#[test]
fn one_machine_that_fails_is_told_and_costs_no_other() {
    let lab = Lab::new(2);
    fs::write(lab.servers[1].far_root().join("number"), "").unwrap();
    let payload = lab.payload(&format!("{SCRIPT}; [ \"$number\" ] || exit 9"));
    let output = lab.vmrun(&payload, &[]).assert().code(3).stderr(contains("exit code 9"));
    let report = read(&output);
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(1), &json!(1)));
    let machines = report["machines"].as_array().unwrap();
    let bad = machines.iter().find(|machine| machine["name"] == "vm-1").unwrap();
    assert_eq!(
        (&bad["succeeded"], &bad["exit_code"], &bad["run_ns"]),
        (&json!(false), &json!(9), &Value::Null)
    );
    assert!(fs::read_to_string(lab.results("run-1-result")).unwrap().starts_with("### vm-0\nhello\n"));
    let none = lab.payload("exit 1");
    lab.vmrun(&none, &["--id", "run-2"]).assert().code(4);
}

#[test]
fn too_few_that_are_ready_is_an_exit_of_its_own() {
    let lab = Lab::new(1);
    lab.map(&format!("127.0.0.1:{} down\n", free_port()));
    let payload = lab.payload(SCRIPT);
    let output = lab.vmrun(&payload, &["-t", "1"]).assert().code(31);
    assert_eq!(read(&output)["succeeded"], 0);
    assert!(!lab.servers[0].far_root().join("payload.sh").exists());
    let more = ["-t", "1", "--ready", "any", "--id", "run-2"];
    let output = lab.vmrun(&payload, &more).assert().code(3).stderr(contains("is the machine up"));
    assert_eq!(read(&output)["succeeded"], 1);
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_sent() {
    let lab = Lab::new(1);
    let payload = lab.payload(SCRIPT);
    let refused = |more: &[&str], payload: &str, why: &str| {
        lab.vmrun(payload, more).assert().code(2).stdout("").stderr(contains(why));
    };
    let broken = lab.world.path("broken.tgz");
    fs::write(&broken, &fs::read(&payload).unwrap()[..100]).unwrap();
    refused(&[], broken.to_str().unwrap(), "virtmark payload lint");
    refused(&["--ready", "5"], &payload, "the map has 1 machines");
    refused(&["--ready", "most"], &payload, "expected all, any, or a number");
    refused(&["--root", "relative"], &payload, "absolute");
    lab.map("10.0.0.1 vm-0\n");
    refused(&[], &payload, "vm-0");
    fs::write(lab.world.path("map"), "# nobody\n").unwrap();
    refused(&[], &payload, "names no machine");
    lab.map("");
    fs::write(lab.world.path("auth.json"), "{").unwrap();
    refused(&[], &payload, "auth.json");
    assert!(!lab.world.path("out").exists());
}

/// What is in the way of text: bytes that are none, aliases, a name that leads nowhere.
#[test]
fn odd_output_and_odd_maps_pass() {
    let lab = Lab::new(1);
    let line = lab.servers[0].line();
    let text = format!("{} db\tprimary # the first\nno-such-host.invalid lost\n", line.trim_end());
    fs::write(lab.world.path("map"), &text).unwrap();
    let payload = lab.payload("printf 'caf\\351\\000\\n'; printf 'virtmark: metric \\377 1 s\\n'");
    // Each is tried once, for as long as a name server may take.
    let output = lab.vmrun(&payload, &["-t", "0", "--ready", "any"]).assert().code(3);
    let report = read(&output);
    assert_eq!(fs::read(lab.results("machines/vm-0/stdout")).unwrap().get(..6), Some(&b"caf\xe9\0\n"[..]));
    assert!(fs::read(lab.results("run-1-result")).unwrap().starts_with(b"### vm-0\ncaf\xe9\0\n"));
    let one: Value =
        serde_json::from_slice(&fs::read(lab.results("machines/vm-0/result.json")).unwrap()).unwrap();
    assert_eq!((&one["aliases"], &one["succeeded"]), (&json!(["db", "primary"]), &json!(true)));
    assert_eq!(one["malformed"].as_array().unwrap().len(), 1);
    let lost = report["machines"].as_array().unwrap().iter().find(|machine| machine["name"] == "lost");
    let message = lost.unwrap()["message"].as_str().unwrap();
    assert!(message.contains("cannot find the address of no-such-host.invalid"), "{message}");
    // Whoever is an alias is nobody else.
    fs::write(lab.world.path("map"), format!("{text}192.0.2.1 db\n")).unwrap();
    lab.vmrun(&payload, &["--id", "run-2"]).assert().code(2).stderr(contains("db"));
}

#[test]
fn a_full_disk_here_is_told_and_the_run_is_in_the_archive() {
    let lab = Lab::new(1);
    fs::create_dir(lab.world.path("out")).unwrap();
    let Some(_small) = lab.world.small_tmpfs("out") else { return };
    let payload = lab.payload("PATH=/bin:/usr/bin; head -c 8000000 /dev/zero");
    let output = lab.vmrun(&payload, &[]).assert().failure();
    let told = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(told.contains("free some space, or choose another place with --output"), "{told}");
    let shown = lab.world.json(&["show", "run-1"]);
    assert_eq!((&shown["failed"], &shown["machines"][0]["failure"]), (&json!(1), &json!("disk_full")));
}

impl Lab {
    /// The program, to be sent signals.
    fn start(&self, payload: &str) -> Child {
        let of = |name: &str| self.text(&self.world.path(name));
        let (map, auth, output) = (of("map"), of("auth.json"), of("out"));
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_virtmark"));
        command.args(["vmrun", "-H", &map, "-A", &auth, "-o", &output, "-r", ROOT, "-U", "run-1", payload]);
        command.envs(self.world.environment()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Waits until each machine has printed something.
    fn wait_for_output(&self) {
        let begun = |server: &Sshd| {
            let file = self.results("machines").join(&server.name).join("stdout");
            fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
        };
        wait_until("the payloads begin", || self.servers.iter().all(begun));
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
}

fn ends_interrupted(child: Child) -> Value {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["status"], "interrupted");
    report
}

/// Ctrl-C while payloads run: they are killed, and what they printed is there.
#[test]
fn a_stop_keeps_what_came_home() {
    let lab = Lab::new(2);
    let payload = lab.payload("echo 'virtmark: metric early 7 count'; PATH=/bin:/usr/bin; sleep 987");
    let child = lab.start(&payload);
    lab.wait_for_output();
    signal(&child, "-INT");
    let report = ends_interrupted(child);
    assert_eq!(report["failed"], 2);
    let early = report["metrics"].as_array().unwrap().iter().find(|metric| metric["metric"] == "early");
    assert_eq!(early.unwrap()["machines"], 2);
    assert_eq!(fs::read_to_string(lab.results("run-1-errors")).unwrap().matches("### vm-").count(), 2);
}

/// Ctrl-C while a machine is waited for that never comes.
#[test]
fn a_stop_ends_the_wait_for_machines() {
    let lab = Lab::new(1);
    lab.map(&format!("127.0.0.1:{} down\n", free_port()));
    let child = lab.start(&lab.payload(SCRIPT));
    wait_until("the run begins", || lab.results("machines").exists());
    // The one that answers has to be logged in to, the other is tried again and again.
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "-INT");
    let report = ends_interrupted(child);
    assert_eq!(report["machines"].as_array().unwrap().len(), 2);
    assert!(!lab.servers[0].far_root().join("payload.sh").exists());
}

/// Whatever ends the program, the payload does not go on by itself.
#[test]
fn nothing_runs_on_when_the_program_is_killed() {
    let lab = Lab::new(1);
    let payload = lab.payload("PATH=/bin:/usr/bin; sleep 987 & echo $! >$BENCH_ROOT/pid; echo begun; wait");
    let mut child = lab.start(&payload);
    lab.wait_for_output();
    let pid = fs::read_to_string(lab.servers[0].far_root().join("pid")).unwrap();
    let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(stat().contains("(sleep)"));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the payload ends", || !stat().contains("(sleep)") || stat().contains(") Z "));
    // What it printed is there, though nobody was left to sum it up.
    assert_eq!(fs::read_to_string(lab.results("machines/vm-0/stdout")).unwrap(), "begun\n");
}

/// The map from standard input, and the program by its other name.
#[test]
fn the_link_is_the_command() {
    let lab = Lab::new(1);
    let payload = lab.payload(SCRIPT);
    let link = lab.world.path("vmrun");
    symlink(env!("CARGO_BIN_EXE_virtmark"), &link).unwrap();
    let (auth, output) = (lab.text(&lab.world.path("auth.json")), lab.text(&lab.world.path("out")));
    let mut command = assert_cmd::Command::new(&link);
    command
        .args(["-q", "-H", "-", "-A", &auth, "-o", &output, "-r", ROOT, &payload])
        .envs(lab.world.environment());
    let map = fs::read_to_string(lab.world.path("map")).unwrap();
    let output = command.write_stdin(map).assert().success().stderr("");
    assert!(read(&output)["run"].as_str().unwrap().starts_with("vmrun-"));
}
