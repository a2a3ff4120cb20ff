//! Programs as targets, and the generator's own program: what ends badly, and what is left then.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use virtmark_load::{Cancel, Ended, Event, Job, Outcome, run};

fn job(argv: &[&str], duration_ms: u64, timeout_ms: u64) -> String {
    serde_json::json!({
        "target": {"kind": "command", "argv": argv, "env": [["VIRTMARK_LOAD_TEST", "yes"]]},
        "arrivals": {"kind": "closed", "concurrency": 2},
        "duration_ns": duration_ms * 1_000_000,
        "request_timeout_ns": timeout_ms * 1_000_000,
        "progress_interval_ns": 20_000_000,
    })
    .to_string()
}

fn outcome(argv: &[&str]) -> Outcome {
    run(&Job::parse(&job(argv, 1000, 5000)).unwrap(), &mut |_| {}, &Cancel::new()).unwrap()
}

#[test]
fn a_program_that_ends_well_is_a_call() {
    let outcome = outcome(&["sh", "-c", "test $VIRTMARK_LOAD_TEST = yes"]);
    assert!(outcome.completed > 1 && outcome.failed() == 0, "{outcome:?}");
    assert!(outcome.usage.children_max_rss_bytes > 0);
}

#[test]
fn an_exit_code_is_an_error_with_what_it_said() {
    let outcome = outcome(&["sh", "-c", "echo no disk >&2; exit 3"]);
    assert_eq!(outcome.completed, 0);
    assert_eq!(outcome.errors["exit_code"].message, "the command ended with exit code 3; it said: no disk");
    assert!(outcome.errors["exit_code"].count > 1);
}

#[test]
fn a_program_that_is_killed_is_an_error() {
    let outcome = outcome(&["sh", "-c", "kill -9 $$"]);
    assert_eq!(outcome.errors["killed"].message, "the command was killed by signal 9");
}

#[test]
fn a_flood_on_standard_error_is_no_more_than_its_end() {
    let flood = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 $i >&2; i=$((i+1)); done; exit 1";
    let outcome = outcome(&["sh", "-c", flood]);
    let message = &outcome.errors["exit_code"].message;
    assert!(message.ends_with(" 2999") && message.len() < 1200, "{message}");
}

#[test]
fn a_program_that_does_not_exist_is_told_before_anything_is_measured() {
    let job = Job::parse(&job(&["no-such-program"], 300, 300)).unwrap();
    let error = run(&job, &mut |_| {}, &Cancel::new()).unwrap_err().to_string();
    assert!(error.contains("there is no program \"no-such-program\""), "{error}");
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let mark = mark("hangs");
    let script = format!("sleep 1000.{mark} & sleep 1000.{mark}");
    let job = Job::parse(&job(&["sh", "-c", &script], 400, 100)).unwrap();
    let outcome = run(&job, &mut |_| {}, &Cancel::new()).unwrap();
    assert_eq!((outcome.completed, outcome.stuck), (0, 0));
    assert!((4..=8).contains(&outcome.errors["timeout"].count), "{outcome:?}");
    assert_none_left(&mark);
}

#[test]
fn nothing_is_left_when_the_group_of_the_program_is_killed() {
    let mark = mark("killed");
    // One in a session of its own: it is in no group that anybody knows.
    let script = format!("setsid sleep 1000.{mark} & sleep 1000.{mark}");
    let (mut program, _stdin, _lines) = start(&job(&["sh", "-c", &script], 60_000, 60_000));
    wait_for(|| count(&mark) >= 4);
    kill_process_group(Pid::from_child(&program), Signal::KILL).unwrap();
    program.wait().unwrap();
    assert_none_left(&mark);
}

#[test]
fn nothing_is_left_when_the_generator_is_killed_behind_its_guard() {
    let mark = mark("guarded");
    let (mut program, _stdin, lines) = start(&job(&["sleep", &format!("1000.{mark}")], 60_000, 60_000));
    wait_for(|| count(&mark) >= 2);
    let generator = children_of(program.id())[0];
    kill_process(Pid::from_raw(generator).unwrap(), Signal::KILL).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(1));
    let told = lines.map(Result::unwrap).last().unwrap();
    assert!(told.contains("killed by signal 9 while it measured"), "{told}");
    assert_none_left(&mark);
}

#[test]
fn a_signal_ends_the_program_with_what_it_has() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut program, _stdin, lines) = start(&job(&["true"], 60_000, 1000));
        let mut events = lines.map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
        assert!(events.any(|event| matches!(event, Event::Progress(progress) if progress.completed > 0)));
        kill_process(Pid::from_child(&program), signal).unwrap();
        assert_cancelled(events.last());
        assert_eq!(program.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_end_of_standard_input_ends_the_program_with_what_it_has() {
    let plan = r#"{"plan": "p", "output": "a", "nodes": {"a": {"op": "sleep", "duration_ms": 1}}}"#;
    let of_plan = serde_json::json!({
        "target": {"kind": "plan", "plan": plan, "async": true, "cpu_threads": 1, "io_threads": 1},
        "arrivals": {"kind": "closed", "concurrency": 1},
        "duration_ns": 60_000_000_000_u64,
        "request_timeout_ns": 1_000_000_000,
        "progress_interval_ns": 20_000_000,
    });
    for job in [job(&["true"], 60_000, 1000), of_plan.to_string()] {
        let (mut program, stdin, lines) = start(&job);
        let mut events = lines.map(|line| serde_json::from_str::<Event>(&line.unwrap()).unwrap());
        assert!(events.any(|event| matches!(event, Event::Progress(progress) if progress.completed > 0)));
        drop(stdin);
        assert_cancelled(events.last());
        assert_eq!(program.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_job_in_a_file_needs_no_standard_input() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let pretty: serde_json::Value = serde_json::from_str(&job(&["true"], 200, 1000)).unwrap();
    fs::write(file.path(), serde_json::to_string_pretty(&pretty).unwrap()).unwrap();
    let output = program().arg(file.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let last = output.stdout.lines().last().unwrap().unwrap();
    match serde_json::from_str(&last).unwrap() {
        Event::Outcome(outcome) => assert!(outcome.ended == Ended::Completed && outcome.completed > 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_that_cannot_be_used_is_told() {
    for (input, code, told) in [
        ("no job", 2, "cannot read the job"),
        ("{}", 2, "missing field"),
        (&*job(&["no-such-program"], 100, 100), 1, "there is no program"),
    ] {
        let (mut program, _stdin, mut lines) = start(input);
        let line = lines.next().unwrap().unwrap();
        match serde_json::from_str(&line).unwrap() {
            Event::Failed { message } => assert!(message.contains(told), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(program.wait().unwrap().code(), Some(code), "{input}");
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_virtmark-load"))
}

/// Starts it in a group of its own with a job on standard input.
fn start(job: &str) -> (Child, ChildStdin, std::io::Lines<BufReader<std::process::ChildStdout>>) {
    let mut child = program().process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(job.as_bytes()).unwrap();
    stdin.write_all(b"\n").unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, stdin, lines)
}

fn assert_cancelled(last: Option<Event>) {
    match last {
        Some(Event::Outcome(outcome)) => {
            assert_eq!(outcome.ended, Ended::Cancelled);
            assert!(outcome.completed > 0 && outcome.failed() == 0, "{outcome:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// Tells the processes of one test apart: digits behind a point, which sleep(1) takes.
fn mark(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| (byte % 10).to_string()).collect();
    format!("{digits}{}", std::process::id())
}

fn count(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(b"sleep") && String::from_utf8_lossy(line).contains(mark)).count()
}

fn children_of(parent: u32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(5));
    }
}

fn assert_none_left(mark: &str) {
    wait_for(|| count(mark) == 0);
}
