//! Several processes on one archive, and the end of one of them in the middle of a sample.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;

use common::{new_archive, run, success};
use virtmark_archive::{Archive, Error, RunState};

const ARCHIVE: &str = "VIRTMARK_TEST_ARCHIVE";
const RUN: &str = "VIRTMARK_TEST_RUN";
const ACKNOWLEDGED: &str = "acknowledged ";

/// Records without end, and says after each sample that it is stored.
#[test]
#[ignore = "the child process of other tests: it ends only by being killed"]
fn child_records_until_killed() {
    let archive = Archive::open(std::env::var_os(ARCHIVE).unwrap()).unwrap();
    let mut writer = archive.begin(&run(std::env::var(RUN).unwrap().parse().unwrap())).unwrap();
    let mut output = std::io::stdout();
    for seq in 0.. {
        writer.record(&success(seq, seq as f64)).unwrap();
        writeln!(output, "\n{ACKNOWLEDGED}{seq}").unwrap();
    }
}

fn spawn_child(archive: &Path, run: i64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_records_until_killed", "--ignored", "--nocapture"])
        .env(ARCHIVE, archive)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Waits for `count` samples, kills the child with SIGKILL, and gives the last sample it had acknowledged.
fn kill_after(mut child: Child, count: u64, look: impl FnOnce()) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledged = |line: &str| line.strip_prefix(ACKNOWLEDGED).map(|seq| seq.parse::<u64>().unwrap());
    let mut last = None;
    for line in lines.by_ref() {
        last = acknowledged(&line.unwrap()).or(last);
        if last.is_some_and(|last| last + 1 >= count) {
            break;
        }
    }
    look();
    child.kill().unwrap();
    child.wait().unwrap();
    // What was still in the pipe was acknowledged too; the very last line may be cut off by the kill.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    rest.iter().filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse().ok()).fold(last.unwrap(), u64::max)
}

#[test]
fn a_killed_process_loses_nothing_it_was_told_is_stored() {
    for round in 0..3 {
        let (_directory, archive) = new_archive();
        let run = run(0);
        let child = spawn_child(archive.path(), 0);
        let pid = child.id();
        let last = kill_after(child, 20 + round * 7, || {
            assert_eq!(archive.run("latest").unwrap().state, RunState::Running);
            let refused = archive.remove(&run.id).unwrap_err();
            assert!(
                matches!(refused, Error::RunInProgress { pid: writer, .. } if writer == pid),
                "{refused}"
            );
        });
        let samples = archive.samples(&run.id).unwrap();
        // One more may have been stored and not yet acknowledged.
        let count = samples.len() as u64;
        assert!((last + 1..=last + 2).contains(&count), "{last} was acknowledged last, {count} are stored");
        let expected: Vec<_> = (0..count).map(|seq| success(seq, seq as f64)).collect();
        assert_eq!(samples, expected);
        let stored = archive.run("latest").unwrap();
        assert_eq!((stored.state, stored.run.finished_at), (RunState::Killed, None));
        archive.remove(&run.id).unwrap();
    }
}

#[test]
fn two_processes_write_at_the_same_time() {
    let (_directory, archive) = new_archive();
    let children = [0, 1].map(|number| (number, spawn_child(archive.path(), number)));
    let killers =
        children.map(|(number, child)| thread::spawn(move || (number, kill_after(child, 40, || {}))));
    for killer in killers {
        let (number, last) = killer.join().unwrap();
        let count = archive.samples(&run(number).id).unwrap().len() as u64;
        assert!((last + 1..=last + 2).contains(&count), "{last} was acknowledged last, {count} are stored");
    }
}

#[test]
fn a_new_archive_may_be_opened_by_many_at_once() {
    const WRITERS: i64 = 6;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/archive.sqlite");
    let barrier = Barrier::new(WRITERS as usize);
    thread::scope(|scope| {
        for number in 0..WRITERS {
            let (path, barrier) = (&path, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let archive = Archive::open(path).unwrap();
                let mut writer = archive.begin(&run(number)).unwrap();
                for seq in 0..10 {
                    writer.record(&success(seq, 1.0)).unwrap();
                }
            });
        }
    });
    let archive = Archive::open_read_only(&path).unwrap();
    for number in 0..WRITERS {
        assert_eq!(archive.samples(&run(number).id).unwrap().len(), 10);
    }
}
