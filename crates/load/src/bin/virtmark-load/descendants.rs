//! Processes that were started from here, at any remove.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// Time between two looks for processes that came here when their parents died.
const AGAIN: Duration = Duration::from_millis(1);

/// From now on, processes whose parents die come here.
pub(crate) fn adopt() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Kills all of them, and waits for their end.
pub(crate) fn end_all() {
    loop {
        for child in children() {
            // It may have ended just now.
            let _ = kill_process(child, Signal::KILL);
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => thread::sleep(AGAIN),
            // There are none.
            Err(_) => return,
        }
    }
}

fn children() -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pid = |name: &str| Pid::from_raw(name.parse().ok()?);
    let processes = processes.flatten().filter_map(|entry| pid(entry.file_name().to_str()?));
    processes.filter(|process| parent(*process) == Some(getpid())).collect()
}

/// Field 4 of proc_pid_stat(5); the name before it may hold anything.
fn parent(process: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    Pid::from_raw(behind_name.split_whitespace().nth(1)?.parse().ok()?)
}
