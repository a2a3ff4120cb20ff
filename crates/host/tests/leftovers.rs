//! Whatever way virtmark ends, nothing of it stays: its own end, SIGKILL, and what the next start finds.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use common::{eventually, example, pid_in, roots, run_dir, runs};
use virtmark_host::process::Spawn;
use virtmark_host::rundir::Leftover;

/// Another virtmark, as far as this crate is concerned, that runs a shell script as its machine.
struct Victim {
    process: Child,
    id: String,
}

impl Victim {
    fn start(place: &Path, script: &str) -> Self {
        let mut command = Command::new(example("victim"));
        command.args([place.join("c"), place.join("b")]).arg(script).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut id = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut id).unwrap();
        Self { process, id: id.trim().to_owned() }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn entries(place: &Path, base: &str) -> Vec<String> {
    let entries = fs::read_dir(place.join(base))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name != "lock").collect()
}

#[test]
fn a_child_dies_with_a_killed_parent() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pid");
    let mut victim = Victim::start(place.path(), &format!("echo $$ > {}; exec sleep 60", file.display()));
    let child = pid_in(&file);
    assert!(runs(child));
    victim.kill();
    eventually("the child is gone", || !runs(child));
}

#[test]
fn the_next_start_ends_descendants_and_removes_directories() {
    let place = tempfile::tempdir().unwrap();
    let [leader, member, escaped] = ["leader", "member", "escaped"].map(|name| place.path().join(name));
    // One descendant in the child's process group, one that has left it with a session of its own.
    let script = format!(
        "echo $$ > {}; sleep 60 & echo $! > {}; setsid sh -c 'echo $$ > {}; exec sleep 60' & wait",
        leader.display(),
        member.display(),
        escaped.display()
    );
    let mut victim = Victim::start(place.path(), &script);
    let [leader, member, escaped] = [leader, member, escaped].map(|file| pid_in(&file));
    assert!(roots(place.path()).clean_leftovers().is_empty(), "it lives, and is left alone");
    victim.kill();
    eventually("the direct child is gone", || !runs(leader));
    assert!(runs(member) && runs(escaped), "the kernel ends the direct child only");
    assert_eq!(entries(place.path(), "c"), [victim.id.clone()]);
    assert_eq!(entries(place.path(), "b"), [victim.id.clone()]);

    let leftovers = roots(place.path()).clean_leftovers();
    assert!(!runs(member) && !runs(escaped), "gone when the call returns");
    // The bulk directory is on record in the control directory and goes with it.
    let [Leftover { path, owner_pid, processes, problem }] = &leftovers[..] else { panic!("{leftovers:?}") };
    assert_eq!(*path, place.path().join("c").join(&victim.id));
    assert_eq!(*owner_pid, victim.process.id() as i32);
    assert_eq!(*problem, None);
    let mut pids: Vec<_> = processes.iter().map(|process| process.pid).collect();
    pids.sort();
    let mut expected = [member, escaped];
    expected.sort();
    assert_eq!(pids, expected);
    assert!(entries(place.path(), "c").is_empty() && entries(place.path(), "b").is_empty());
    assert!(roots(place.path()).clean_leftovers().is_empty());
}

#[test]
fn any_number_of_starts_may_clean_at_once() {
    let place = tempfile::tempdir().unwrap();
    let mut victims: Vec<_> = (0..4).map(|_| Victim::start(place.path(), "sleep 60 & wait")).collect();
    victims.iter_mut().for_each(Victim::kill);
    let cleaners: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn({
                let roots = roots(place.path());
                move || roots.clean_leftovers()
            })
        })
        .collect();
    let leftovers: Vec<Leftover> = cleaners.into_iter().flat_map(|cleaner| cleaner.join().unwrap()).collect();
    assert!(leftovers.iter().all(|leftover| leftover.problem.is_none()), "{leftovers:?}");
    let mut cleaned: Vec<_> = leftovers
        .iter()
        .filter(|leftover| leftover.path.starts_with(place.path().join("c")))
        .map(|leftover| leftover.owner_pid)
        .collect();
    cleaned.sort();
    let mut expected: Vec<_> = victims.iter().map(|victim| victim.process.id() as i32).collect();
    expected.sort();
    assert_eq!(cleaned, expected, "each by exactly one");
    assert!(entries(place.path(), "c").is_empty() && entries(place.path(), "b").is_empty());
}

/// A process that leads its own group and is on record nowhere.
struct Bystander(Child);

impl Bystander {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").process_group(0).spawn().unwrap())
    }

    fn start_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The directory of a dead run with this one line in its record.
fn dead_run(place: &Path, line: &str) {
    let base = place.join("c");
    let path = base.join("4194305-00c0ffee");
    fs::create_dir_all(&path).unwrap();
    let mut record = OpenOptions::new().create(true).append(true).open(path.join("processes")).unwrap();
    writeln!(record, "{line}").unwrap();
}

#[test]
fn a_recorded_process_that_still_runs_is_ended() {
    let place = tempfile::tempdir().unwrap();
    let bystander = Bystander::start();
    let boot = virtmark_host::boot_id().unwrap();
    dead_run(place.path(), &format!("{} {} {boot} the vmm", bystander.0.id(), bystander.start_ticks()));
    let leftovers = roots(place.path()).clean_leftovers();
    assert_eq!(leftovers[0].processes[0].name.as_deref(), Some("the vmm"));
    assert!(!runs(bystander.0.id() as i32));
}

#[test]
fn a_pid_that_passed_on_is_not_touched() {
    let boot = virtmark_host::boot_id().unwrap();
    let bystander = Bystander::start();
    let (pid, ticks) = (bystander.0.id(), bystander.start_ticks());
    for line in [format!("{pid} {} {boot} old", ticks - 1), format!("{pid} {ticks} another-boot old")] {
        let place = tempfile::tempdir().unwrap();
        dead_run(place.path(), &line);
        let leftovers = roots(place.path()).clean_leftovers();
        assert_eq!(leftovers.len(), 1, "{line}");
        assert_eq!(leftovers[0].processes, [], "{line}");
        assert!(runs(pid as i32), "{line}");
        assert!(entries(place.path(), "c").is_empty());
    }
}

#[test]
fn the_end_of_a_run_ends_what_escaped_it() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let file = place.path().join("pid");
    let mut spawn = Spawn::new("shell", "/bin/sh");
    spawn.args(["-c", &format!("setsid sh -c 'echo $$ > {}; exec sleep 60' & wait", file.display())]);
    let child = spawn.start(&run_dir).unwrap();
    let escaped = pid_in(&file);
    drop(child);
    assert!(runs(escaped), "not in the group");
    drop(run_dir);
    assert!(!runs(escaped));
}
