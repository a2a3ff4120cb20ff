//! What the tests of processes share; each of them uses a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_host::rundir::{Roots, RunDir};

pub(crate) fn run_dir(place: &Path) -> RunDir {
    RunDir::create_in(roots(place)).unwrap()
}

pub(crate) fn roots(place: &Path) -> Roots {
    Roots::new(place.join("c"), [place.join("b")])
}

/// Waits for something to come true, and fails the test when it does not.
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "never true: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Neither gone nor a zombie.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// The pid that another process writes to a file as one line.
pub(crate) fn pid_in(path: &Path) -> i32 {
    let mut pid = None;
    eventually("a pid is written", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        pid = text.strip_suffix('\n').and_then(|line| line.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

/// Cargo puts examples beside the directory of test programs, and builds them before tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(name)
}
