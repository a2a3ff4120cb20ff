//! Children: started, watched, ended.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{eventually, pid_in, run_dir, runs};
use rustix::event::{PollFd, PollFlags, poll};
use virtmark_host::process::{
    ProcessError, Spawn, Stream, describe_exit, kill_children_named, live_children,
};

fn shell(script: &str) -> Spawn {
    let mut spawn = Spawn::new("shell", "/bin/sh");
    spawn.args(["-c", script]);
    spawn
}

#[test]
fn an_exit_is_waited_for_and_told() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let child = shell("exit 3").start(&run_dir).unwrap();
    let status = child.wait_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(describe_exit(status), "exited with code 3");
    assert_eq!(child.try_wait(), Some(status), "it stays told");
    assert_eq!(child.usage(), None);

    let child = shell("kill -SEGV $$").start(&run_dir).unwrap();
    assert_eq!(child.wait().signal(), Some(11));
}

#[test]
fn those_of_a_name_are_killed_and_no_others() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let start = |name: &str| {
        let mut spawn = Spawn::new(name, "sleep");
        spawn.arg("60");
        spawn.start(&run_dir).unwrap()
    };
    let (one, two, other) = (start("one"), start("one"), start("one-more"));
    assert_eq!(kill_children_named("on"), 0);
    assert_eq!(kill_children_named("one"), 2);
    assert_eq!((one.wait().signal(), two.wait().signal()), (Some(9), Some(9)));
    assert_eq!(other.try_wait(), None);
    assert_eq!(kill_children_named("one"), 0);
    other.kill();
    other.wait();
}

#[test]
fn waiting_ends_on_time_and_signals_arrive() {
    let place = tempfile::tempdir().unwrap();
    let child = shell("exec sleep 60").start(&run_dir(place.path()));
    let child = child.unwrap();
    let started = Instant::now();
    // The run directory is gone, and its end is the end of its processes.
    assert_eq!(child.wait().signal(), Some(9));

    let run_dir = run_dir(place.path());
    let child = shell("exec sleep 60").start(&run_dir).unwrap();
    assert_eq!(child.try_wait(), None);
    let before = Instant::now();
    assert_eq!(child.wait_timeout(Duration::from_millis(50)), None);
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert!(child.usage().unwrap().rss_bytes > 0);
    child.terminate();
    assert_eq!(describe_exit(child.wait()), "killed by signal 15 (SIGTERM)");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn another_thread_and_poll_see_the_exit() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let child = Arc::new(shell("exec sleep 60").start(&run_dir).unwrap());
    let waiter = thread::spawn({
        let child = child.clone();
        move || child.wait()
    });
    child.kill();
    poll(&mut [PollFd::from_borrowed_fd(child.exit_fd(), PollFlags::IN)], None).unwrap();
    assert_eq!(waiter.join().unwrap().signal(), Some(9));
}

#[test]
fn a_child_survives_the_thread_that_asked_for_it() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = Arc::new(run_dir(place.path()));
    let child = thread::spawn({
        let run_dir = run_dir.clone();
        move || shell("exec sleep 60").start(&run_dir).unwrap()
    });
    let child = child.join().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_millis(100)), None);
}

#[test]
fn streams_environment_and_directory_are_as_asked() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let (output, errors, input) =
        (place.path().join("out"), place.path().join("err"), place.path().join("in"));
    fs::write(&input, "typed\n").unwrap();
    let mut spawn = shell("read line; pwd; echo $line $GIVEN $HOME $VIRTMARK_RUN_ID; echo oops >&2");
    spawn.clear_env().env("GIVEN", "given").current_dir("/");
    spawn
        .stdin(Stream::File(input))
        .stdout(Stream::File(output.clone()))
        .stderr(Stream::File(errors.clone()));
    assert!(spawn.command_line().starts_with("/bin/sh -c read"));
    assert!(spawn.start(&run_dir).unwrap().wait().success());
    assert_eq!(fs::read_to_string(output).unwrap(), format!("/\ntyped given {}\n", run_dir.id()));
    assert_eq!(fs::read_to_string(errors).unwrap(), "oops\n");
}

#[test]
fn a_passed_descriptor_keeps_its_number_and_no_other_child_gets_it() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let secret = File::open("/etc/hostname").or_else(|_| File::open("/proc/self/stat")).unwrap();
    let (listing, number) = (place.path().join("fds"), theirs.as_raw_fd());
    let mut spawn = shell(&format!("echo hello >&{number}; ls -l /proc/$$/fd > {}", listing.display()));
    assert_eq!(spawn.pass_fd(OwnedFd::from(theirs)), number);
    assert!(spawn.start(&run_dir).unwrap().wait().success());

    // End of file, as this process's copy of their end is closed.
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello\n");
    let listing = fs::read_to_string(listing).unwrap();
    let numbers: Vec<_> = listing.lines().filter_map(|line| line.split(' ').rev().nth(2)).collect();
    assert!(numbers.contains(&number.to_string().as_str()), "{listing}");
    assert!(!numbers.contains(&secret.as_raw_fd().to_string().as_str()), "{listing}");
    assert!(!numbers.contains(&ours.as_raw_fd().to_string().as_str()), "{listing}");
}

#[test]
fn the_streams_may_be_sockets() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut spawn = Spawn::new("cat", "cat");
    spawn.stdin(Stream::Fd(theirs.try_clone().unwrap().into())).stdout(Stream::Fd(theirs.into()));
    let child = spawn.start(&run_dir).unwrap();
    ours.write_all(b"echo").unwrap();
    let mut back = [0; 4];
    ours.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"echo");
    drop(ours);
    assert!(child.wait().success());
}

#[test]
fn dropping_ends_the_whole_group() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let file = place.path().join("pid");
    let child = shell(&format!("sleep 60 & echo $! > {}; wait", file.display())).start(&run_dir).unwrap();
    let (leader, descendant) = (child.pid(), pid_in(&file));
    assert!(runs(leader) && runs(descendant));
    assert!(live_children().iter().any(|live| live.pid == leader && live.name == "shell"));
    drop(child);
    assert!(!runs(leader));
    assert!(live_children().iter().all(|live| live.pid != leader));
    eventually("the descendant is gone", || !runs(descendant));
}

#[test]
fn what_a_child_leaves_in_its_group_goes_with_it() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let file = place.path().join("pid");
    let child = shell(&format!("sleep 60 & echo $! > {}", file.display())).start(&run_dir).unwrap();
    let descendant = pid_in(&file);
    assert!(child.wait().success());
    eventually("the straggler is gone", || !runs(descendant));
}

#[test]
fn what_cannot_start_says_why_and_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let run_dir = run_dir(place.path());
    let error = Spawn::new("vmm", "/no/such/program").start(&run_dir).unwrap_err();
    assert!(matches!(error, ProcessError::Spawn { .. }));
    assert_eq!(
        error.to_string(),
        "cannot start /no/such/program for vmm; install it, or give the path it is at"
    );
    let mut spawn = shell("true");
    spawn.stdout(Stream::File("/no/such/directory/log".into()));
    assert!(matches!(spawn.start(&run_dir), Err(ProcessError::Open { .. })));
}
