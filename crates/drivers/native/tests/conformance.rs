//! The conformance suite on this host, and what it cannot see: that nothing is left however the guard ends.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtmark_driver_native::Native;
use virtmark_host::process::{kill_all_children, live_children};
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::conformance::{Subject, Verdict, run};
use virtmark_hypervisor::{
    Capability, Command, Disk, Error, Hypervisor, Machine, MachineSpec, MachineState, MetricKind, StopMode,
};

fn place() -> (TempDir, Arc<RunDir>) {
    let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
    let roots = Roots::new(place.path().join("run"), [place.path().join("bulk")]);
    let run_dir = Arc::new(RunDir::create_in(roots).unwrap());
    (place, run_dir)
}

fn spec(name: &str) -> MachineSpec {
    MachineSpec {
        name: name.into(),
        vcpus: 1,
        memory_bytes: 128 << 20,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: true,
        confined: false,
        ready_timeout: Duration::from_secs(20),
    }
}

fn started(native: &Native, name: &str) -> Box<dyn Machine> {
    let (mut machine, _) = native.create(&spec(name)).unwrap();
    machine.start().unwrap();
    machine
}

/// Starts processes that nothing but the agent holds, and gives their numbers.
fn start_stubborn(machine: &dyn Machine) -> Vec<String> {
    let line = "setsid sh -c 'trap \"\" TERM HUP; sleep 100 & echo $! $$; wait' 2>/dev/null & wait";
    let mut handle = machine.guest().unwrap().spawn(&Command::shell(line)).unwrap();
    let output = String::from_utf8(handle.next_output().unwrap().unwrap().data).unwrap();
    std::mem::forget(handle);
    output.split_whitespace().map(Into::into).collect()
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_bare_host_conforms() {
    let (place, run_dir) = place();
    let native = Native::new(Arc::clone(&run_dir)).unwrap();
    let remains = || {
        let files = fs::read_dir(run_dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let files = files.map(|name| name.to_string_lossy().into_owned());
        let children = live_children().into_iter().map(|child| format!("{} {}", child.name, child.pid));
        files.filter(|name| name.contains("conformance")).chain(children).collect()
    };
    let subject =
        Subject { hypervisor: &native, spec: spec(""), scratch: place.path().into(), remains: &remains };
    let verdicts = run(&subject, &mut |name, verdict| eprintln!("{name}: {verdict}"));
    let failed: Vec<_> =
        verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let passed = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Passed).count();
    assert!(passed >= 15, "{passed} passed");
}

#[test]
fn destroying_ends_all_that_was_started_and_removes_the_directory() {
    let (_place, run_dir) = place();
    let native = Native::new(Arc::clone(&run_dir)).unwrap();
    let mut machine = started(&native, "m1");
    let guest = machine.guest().unwrap();
    let directory = guest.exec(&Command::shell("touch here; pwd")).unwrap().stdout;
    let directory = String::from_utf8(directory).unwrap();
    assert!(Path::new(directory.trim()).starts_with(run_dir.path().join("m1")), "{directory}");
    let pids = start_stubborn(&*machine);
    assert!(pids.len() == 2 && pids.iter().all(|pid| is_alive(pid)));
    machine.destroy().unwrap();
    assert!(!pids.iter().any(|pid| is_alive(pid)));
    assert!(!run_dir.path().join("m1").exists());
}

#[test]
fn files_that_commands_write_are_counted() {
    let (_place, run_dir) = place();
    let native = Native::new(run_dir).unwrap();
    let machine = started(&native, "m1");
    let before = machine.usage().unwrap().disk_bytes.unwrap();
    let line = "mkdir deep && head -c 1000000 /dev/urandom >deep/file && ln -s /usr link && sync deep/file";
    assert!(machine.guest().unwrap().exec(&Command::shell(line)).unwrap().success());
    let grown = machine.usage().unwrap().disk_bytes.unwrap() - before;
    assert!((1_000_000..1_100_000).contains(&grown), "{grown}");
}

#[test]
fn commands_inherit_nothing_but_their_streams() {
    let (_place, run_dir) = place();
    let native = Native::new(run_dir).unwrap();
    let machine = started(&native, "m1");
    let output = machine.guest().unwrap().exec(&Command::argv(["ls", "/proc/self/fd"])).unwrap();
    // The fourth is the directory that ls reads.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n1\n2\n3\n");
}

#[test]
fn nothing_is_left_when_children_are_killed_as_by_a_second_ctrl_c() {
    let (_place, run_dir) = place();
    let native = Native::new(run_dir).unwrap();
    let machine = started(&native, "m1");
    let pids = start_stubborn(&*machine);
    kill_all_children();
    eventually("all have ended", || !pids.iter().any(|pid| is_alive(pid)));
    eventually("it is seen", || machine.state() == MachineState::Stopped);
    let lost = machine.guest().unwrap().exec(&Command::argv(["true"])).unwrap_err();
    let explained = machine.explain(lost);
    assert!(matches!(explained, Error::VmmExited { .. }), "{explained}");
}

#[test]
fn nothing_is_left_when_the_agent_is_killed() {
    let (_place, run_dir) = place();
    let native = Native::new(run_dir).unwrap();
    let machine = started(&native, "m1");
    let pids = start_stubborn(&*machine);
    let killed = machine.guest().unwrap().exec(&Command::shell("kill -9 $PPID")).unwrap_err();
    assert!(matches!(killed, Error::AgentLost { .. }), "{killed}");
    eventually("all have ended", || !pids.iter().any(|pid| is_alive(pid)));
    eventually("it is seen", || machine.state() == MachineState::Stopped);
}

#[test]
fn a_machine_that_never_started_goes_away() {
    let (_place, run_dir) = place();
    let native = Native::new(Arc::clone(&run_dir)).unwrap();
    let (mut machine, timeline) = native.create(&spec("m1")).unwrap();
    assert!(timeline.total_ns() > 0);
    assert!(matches!(machine.stop(StopMode::Forced).unwrap_err(), Error::WrongState { .. }));
    drop(machine);
    assert!(!run_dir.path().join("m1").exists());
}

#[test]
fn what_the_host_cannot_do_is_said() {
    let (_place, run_dir) = place();
    let native = Native::new(run_dir).unwrap();
    let mut machine = started(&native, "m1");
    let refused = machine.snapshot(Path::new("/nowhere")).unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    assert!(machine.pause().is_err() && machine.resume().is_err());
    assert_eq!(machine.console_tail(), "");
}

#[test]
fn it_is_watched_while_it_lives_and_has_no_disks() {
    let (_place, run_dir) = place();
    let native = Native::new(run_dir).unwrap();
    let disks = vec![Disk { name: "data".into(), size_bytes: 512 }];
    let refused = native.create(&MachineSpec { disks, ..spec("disks") }).err().unwrap();
    assert!(matches!(&refused, Error::Unsupported { capability: Capability::Disks, .. }), "{refused}");

    let mut machine = started(&native, "watched");
    let probe = machine.probe().unwrap();
    let told = || {
        let mut names = Vec::new();
        let sink = &mut |name: &str, _: &[(&str, &str)], _: MetricKind, value: f64| {
            assert!(value > 0.0, "{name} {value}");
            names.push(name.to_owned());
        };
        probe.observe(sink).and_then(|()| probe.ask(Duration::from_secs(1), sink)).map(|()| names)
    };
    assert_eq!(told().unwrap(), ["vmm_uptime_seconds", "vmm_cpu_seconds_total", "vmm_resident_bytes"]);
    machine.destroy().unwrap();
    assert!(told().is_err());
}
