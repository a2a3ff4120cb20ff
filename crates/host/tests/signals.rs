//! Being told to stop, once and twice.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{eventually, example, runs};
use rustix::process::{Pid, Signal, kill_process};

struct Program {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(command: &mut Command, place: &Path) -> Self {
        let command = command.args([place.join("c"), place.join("b")]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output }
    }

    fn line(&mut self) -> String {
        self.output.next().unwrap().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

#[test]
fn the_first_signal_asks_and_the_second_ends_everything() {
    let place = tempfile::tempdir().unwrap();
    let mut program = Program::start(&mut Command::new(example("interrupted")), place.path());
    let child: i32 = program.line().parse().unwrap();

    program.signal(Signal::TERM);
    assert_eq!(program.line(), "SIGTERM");
    // The same wish told twice, as by a terminal and its shell.
    program.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(250));
    assert_eq!(program.process.try_wait().unwrap(), None);
    assert!(runs(child));

    program.signal(Signal::INT);
    assert_eq!(program.process.wait().unwrap().code(), Some(25));
    eventually("the child is gone", || !runs(child));
    let left: Vec<_> =
        fs::read_dir(place.path().join("c")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn what_was_ignored_from_the_start_stays_ignored() {
    let place = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(example("interrupted"));
    let mut program = Program::start(&mut shell, place.path());
    program.line();
    program.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(50));
    program.signal(Signal::INT);
    assert_eq!(program.line(), "SIGINT", "SIGHUP came first, and was not heard");
    program.process.kill().unwrap();
    program.process.wait().unwrap();
}
