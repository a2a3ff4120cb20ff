//! `virtmark vmrun` against real machines: QEMU, the image bench, its SSH server; and what goes wrong with such machines.
//!
//! They are booted once, and every case leaves them as it found them, up to the last, which ends two of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../fleet/tests/support/bench.rs"]
mod bench;
mod common;
#[path = "../../fleet/tests/support/mod.rs"]
mod machines;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::{Bench, Entered};
use common::{World, kill, wait_for};
use machines::{noise, payload};
use serde_json::{Value, json};

/// A payload's first line: it has the machine's name in `name`, and tools in its path.
const NAMED: &str = "PATH=/bin:/usr/bin; read -r name </proc/sys/kernel/hostname;";

#[test]
fn real_machines_and_their_bad_days() {
    let lab = Lab::new(3);
    let mut begun = Instant::now();
    let mut done = |what: &str| {
        eprintln!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
        begun = Instant::now();
    };
    all_succeed_and_openssh_agrees(&lab);
    done("all succeed");
    one_configuration_serves_both_clients(&lab);
    done("the client's configuration");
    much_output_is_streamed(&lab);
    done("much output");
    full_disks_are_told(&lab);
    done("full disks");
    one_that_hangs_is_killed(&lab);
    done("one hangs");
    one_that_refuses_the_key_is_left_out(&lab);
    done("one refuses the key");
    a_changed_host_key_is_refused(&lab);
    done("a changed host key");
    nothing_runs_on_when_the_program_is_killed(&lab);
    done("the program is killed");
    machines_that_end_in_the_middle_cost_no_other(lab);
    done("machines end");
}

struct Lab {
    // Before the place in which it is.
    bench: Bench,
    world: World,
}

impl Lab {
    fn new(count: usize) -> Self {
        let world = World::new();
        let begun = Instant::now();
        let bench = Bench::start(world.directory.path(), count);
        eprintln!("{count} machines: {:.1} s", begun.elapsed().as_secs_f64());
        Self { bench, world }
    }

    fn payload(&self, name: &str, script: &str, ballast: &[u8]) -> PathBuf {
        payload(self.world.directory.path(), name, &format!("{NAMED} {script}"), ballast)
    }

    /// The program, on all machines, with a directory of results of this name.
    fn vmrun(&self, id: &str, payload: &Path, more: &[&str]) -> Command {
        let known_hosts = self.bench.known_hosts();
        let mut command = self.plain(id, &self.bench.map(&self.bench.machines), payload, more);
        command.arg("-A").arg(self.bench.auth(&known_hosts));
        command
    }

    fn plain(&self, id: &str, map: &Path, payload: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_virtmark"));
        command.args(["vmrun", "-U", id, "-o"]).arg(self.world.path("out")).arg("-H").arg(map);
        command.args(more).arg(payload).envs(self.world.environment());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What came home from a machine.
    fn home(&self, id: &str, machine: &str) -> PathBuf {
        self.world.path("out").join(id).join("machines").join(machine)
    }

    fn has_begun(&self, id: &str, machine: &Entered) -> bool {
        let stdout = self.home(id, &machine.name).join("stdout");
        fs::metadata(stdout).is_ok_and(|metadata| metadata.len() > 0)
    }
}

/// Runs it to its end, which is this exit code, and gives its report.
fn report(command: &mut Command, code: i32) -> Value {
    report_of(&command.output().unwrap(), code)
}

fn report_of(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Those on which it succeeded.
fn succeeded(report: &Value) -> Vec<&str> {
    let machines = report["machines"].as_array().unwrap().iter();
    let mut names: Vec<&str> = machines
        .filter(|machine| machine["succeeded"] == true)
        .map(|machine| machine["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// The one line that says why a machine failed.
fn message<'a>(report: &'a Value, name: &str) -> &'a str {
    let machines = report["machines"].as_array().unwrap();
    let machine = machines.iter().find(|machine| machine["name"] == name).unwrap();
    let message = machine["message"].as_str().unwrap();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// Whatever their clocks say.
fn all_succeed_and_openssh_agrees(lab: &Lab) {
    lab.bench.machines[1].told("date -s 2035-01-01");
    lab.bench.machines[2].told("date -s 1999-01-01");
    let payload = lab.payload("greet", "echo \"$name $BENCH_ROOT\"; echo careful >&2", b"");
    let learned = lab.world.path("learned");
    let map = lab.bench.map(&lab.bench.machines);
    let mut command = lab.vmrun("all", &payload, &["--host-keys", "accept-new"]);
    let report = report(command.arg("--known-hosts").arg(&learned), 0);
    assert_eq!((&report["succeeded"], &report["failed"]), (&json!(3), &json!(0)));
    for machine in report["machines"].as_array().unwrap() {
        let run_ns = machine["run_ns"].as_u64().unwrap();
        assert!((1_000_000..60_000_000_000).contains(&run_ns), "{run_ns}");
    }
    let result = fs::read_to_string(lab.world.path("out/all/all-result")).unwrap();
    let expected: String =
        (0..3).map(|at| format!("### vm-{at}\nvm-{at} /opt/benchkit\n")).collect::<Vec<_>>().concat();
    assert_eq!(result, expected);

    // What was learned is what the machines' agents say, and OpenSSH's client takes it as it is, and the map's places.
    let text = fs::read_to_string(&learned).unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let of_agents =
        lab.bench.machines.iter().map(|machine| machine.host_key.known_hosts_line(machine.address));
    let mut expected: Vec<String> = of_agents.map(|line| line.trim_end().to_owned()).collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let text = fs::read_to_string(map).unwrap();
    let (place, name) = text.lines().next().unwrap().split_once(' ').unwrap();
    let (address, port) = place.rsplit_once(':').unwrap();
    let output = openssh()
        .args(["-F", "/dev/null", "-i"])
        .arg(&lab.bench.key.private)
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", learned.display()))
        .args(["-p", port, &format!("root@{address}"), "cat /opt/benchkit/payload.sh; hostname"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(&format!("\n{name}\n")), "{output:?}");
}

/// OpenSSH's client, which asks nothing and trusts no stranger.
fn openssh() -> Command {
    let mut command = Command::new("ssh");
    command.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=60"]);
    command
}

/// Without an authentication file: the same `~/.ssh/config` leads both to the machine.
fn one_configuration_serves_both_clients(lab: &Lab) {
    let machine = &lab.bench.machines[0];
    let text = format!(
        "Host bench-*\n HostName {}\n Port {}\n User root\n IdentityFile {}\n UserKnownHostsFile {}\n \
         StrictHostKeyChecking yes\n",
        machine.address.ip(),
        machine.address.port(),
        lab.bench.key.private.display(),
        lab.bench.known_hosts().display(),
    );
    let config = lab.world.path("config");
    fs::write(&config, text).unwrap();
    let map = lab.world.path("named");
    fs::write(&map, "bench-0 bench-0\n").unwrap();
    let payload = lab.payload("name", "echo \"$name\"", b"");
    let mut command = lab.plain("configured", &map, &payload, &[]);
    let report = report(command.arg("--ssh-config").arg(&config).env_remove("SSH_AUTH_SOCK"), 0);
    assert_eq!(succeeded(&report), ["bench-0"]);
    assert_eq!(fs::read_to_string(lab.home("configured", "bench-0").join("stdout")).unwrap(), "vm-0\n");
    let output = openssh().arg("-F").arg(&config).args(["bench-0", "hostname"]).output().unwrap();
    assert_eq!(output.stdout, b"vm-0\n", "{}", String::from_utf8_lossy(&output.stderr));
}

/// Much more than the program may hold comes home whole.
fn much_output_is_streamed(lab: &Lab) {
    const BYTES: u64 = 200 << 20;
    let map = lab.bench.map(&lab.bench.machines[..1]);
    let payload = lab.payload("much", &format!("head -c {BYTES} /dev/zero"), b"");
    let mut command = lab.plain("much", &map, &payload, &[]);
    let child = command.arg("-A").arg(lab.bench.auth(&lab.bench.known_hosts())).spawn().unwrap();
    let (output, peak_bytes) = followed(child);
    report_of(&output, 0);
    let stdout = lab.home("much", "vm-0").join("stdout");
    assert_eq!(fs::metadata(&stdout).unwrap().len(), BYTES);
    assert!(peak_bytes < 64 << 20, "it held {peak_bytes} bytes");
    fs::remove_file(stdout).unwrap();
}

/// Waits for its end; gives its largest resident set, as far as it was seen.
fn followed(child: Child) -> (Output, u64) {
    let status = format!("/proc/{}/status", child.id());
    let peak = || {
        let text = fs::read_to_string(&status).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim();
        Some(line.strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    };
    thread::scope(|scope| {
        let waiting = scope.spawn(|| child.wait_with_output().unwrap());
        let mut most = 0;
        while !waiting.is_finished() {
            most = most.max(peak().unwrap_or(0));
            thread::sleep(Duration::from_millis(50));
        }
        assert!(most > 0);
        (waiting.join().unwrap(), most)
    })
}

/// One has no room for the file, another not for what is in it.
fn full_disks_are_told(lab: &Lab) {
    // What is written and removed is room again only when nothing is left of it in memory.
    let fill = |machine: &Entered, free_mib: u64| {
        machine.told(&format!(
            "sync; free=$(df --output=avail -BM / | tail -n 1 | tr -d ' M'); \
             fallocate -l $((free - {free_mib}))M /fill"
        ))
    };
    fill(&lab.bench.machines[1], 2);
    fill(&lab.bench.machines[2], 20);
    let mut ballast = noise(4 << 20);
    ballast.resize(64 << 20, 0);
    let payload = lab.payload("big", "echo here", &ballast);
    let report = report(&mut lab.vmrun("full", &payload, &[]), 3);
    assert_eq!(succeeded(&report), ["vm-0"]);
    for (name, stage) in [("vm-1", "upload"), ("vm-2", "unpack")] {
        let told = message(&report, name);
        assert!(told.contains("free some space there") && told.contains("--root"), "{told}");
        let result: Value =
            serde_json::from_slice(&fs::read(lab.home("full", name).join("result.json")).unwrap()).unwrap();
        assert_eq!(
            (&result["failed_stage"], &result["failure"]["kind"]),
            (&json!(stage), &json!("disk_full"))
        );
    }
    for machine in &lab.bench.machines {
        machine.told("rm -rf /fill /opt/benchkit");
    }
}

fn one_that_hangs_is_killed(lab: &Lab) {
    let script = "echo begun; [ $name != vm-2 ] || { sleep 987 & echo $! >$BENCH_ROOT/pid; wait; }";
    let payload = lab.payload("hang", script, b"");
    let report = report(&mut lab.vmrun("hang", &payload, &["--run-timeout", "20s"]), 3);
    assert_eq!(succeeded(&report), ["vm-0", "vm-1"]);
    let told = message(&report, "vm-2");
    assert!(told.contains("ran for longer than 20s") && told.contains("give it longer"), "{told}");
    assert_eq!(fs::read_to_string(lab.home("hang", "vm-2").join("stdout")).unwrap(), "begun\n");
    ends(&lab.bench.machines[2]);
}

/// Waits until the process that a payload has noted is gone.
fn ends(machine: &Entered) {
    let alive = "read -r pid </opt/benchkit/pid; if [ -d /proc/$pid ]; then echo alive; else echo gone; fi";
    wait_for(|| machine.told(alive) == "gone");
}

fn one_that_refuses_the_key_is_left_out(lab: &Lab) {
    let machine = &lab.bench.machines[1];
    machine.told("mv ~root/.ssh/authorized_keys ~root/kept");
    let payload = lab.payload("greet", "echo \"$name\"", b"");
    let report = report(&mut lab.vmrun("refused", &payload, &["--ready", "2"]), 3);
    assert_eq!(succeeded(&report), ["vm-0", "vm-2"]);
    let told = message(&report, "vm-1");
    assert!(told.contains("cannot log in") && told.contains("root"), "{told}");
    machine.told("mv ~root/kept ~root/.ssh/authorized_keys");
}

/// The machine gets another key, as one that was made anew has. What the message says to do helps.
fn a_changed_host_key_is_refused(lab: &Lab) {
    let machine = &lab.bench.machines[2];
    machine.told(
        "cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && \
         kill -HUP $(cat /run/sshd.pid)",
    );
    let payload = lab.payload("greet", "echo \"$name\"", b"");
    let mut told = Value::Null;
    for (id, policy) in [("changed", "accept-new"), ("anew", "strict")] {
        told = report(&mut lab.vmrun(id, &payload, &["--ready", "any", "--host-keys", policy]), 3);
        assert_eq!(succeeded(&told), ["vm-0", "vm-1"]);
        assert!(message(&told, "vm-2").contains("the host key has changed"), "{told}");
    }
    let known_hosts = lab.bench.known_hosts();
    let (_, remedy) = message(&told, "vm-2").split_once("made anew: ").unwrap();
    assert!(remedy.starts_with("ssh-keygen -R "), "{remedy}");
    assert!(Command::new("sh").args(["-c", remedy]).output().unwrap().status.success());
    let map = lab.bench.map(&lab.bench.machines);
    let mut command = lab.plain("after", &map, &payload, &["--host-keys", "accept-new"]);
    report(command.arg("-A").arg(lab.bench.auth(&known_hosts)), 0);
}

fn nothing_runs_on_when_the_program_is_killed(lab: &Lab) {
    let payload = lab.payload("long", "sleep 987 & echo $! >$BENCH_ROOT/pid; echo begun; wait", b"");
    let mut child = lab.vmrun("killed", &payload, &["--host-keys", "ignore"]).spawn().unwrap();
    wait_for(|| lab.bench.machines.iter().all(|machine| lab.has_begun("killed", machine)));
    kill("KILL", child.id());
    child.wait().unwrap();
    lab.bench.machines.iter().for_each(ends);
}

/// One loses its power, one restarts itself, which ends a machine here.
fn machines_that_end_in_the_middle_cost_no_other(mut lab: Lab) {
    let script = "echo begun; case $name in vm-0) sleep 4; echo done ;; vm-1) sleep 987 ;; \
                  vm-2) sleep 2; echo b >/proc/sysrq-trigger; sleep 987 ;; esac";
    let payload = lab.payload("end", script, b"");
    let child = lab.vmrun("end", &payload, &["--host-keys", "ignore"]).spawn().unwrap();
    wait_for(|| lab.bench.machines.iter().all(|machine| lab.has_begun("end", machine)));
    lab.bench.machines[1].cut_power();
    let report = report_of(&child.wait_with_output().unwrap(), 3);
    assert_eq!(succeeded(&report), ["vm-0"]);
    assert_eq!(fs::read_to_string(lab.home("end", "vm-0").join("stdout")).unwrap(), "begun\ndone\n");
    for name in ["vm-1", "vm-2"] {
        let told = message(&report, name);
        assert!(
            told.contains("lost the connection") && told.contains("may have died or restarted"),
            "{told}"
        );
        let result: Value =
            serde_json::from_slice(&fs::read(lab.home("end", name).join("result.json")).unwrap()).unwrap();
        assert_eq!((&result["failed_stage"], &result["failure"]["kind"]), (&json!("run"), &json!("lost")));
        assert_eq!(fs::read_to_string(lab.home("end", name).join("stdout")).unwrap(), "begun\n");
    }
}
