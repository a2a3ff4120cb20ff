//! The end of the guest.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process};
use rustix::system::{RebootCommand, reboot};

/// How long processes that were killed may take to be gone.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Powers the guest off. Without ACPI there is no way to do that: then it restarts, and a VMM that was told not to
/// reboot ends instead. `virtmark.shutdown=poweroff` or `restart` on the kernel command line decides otherwise.
pub(crate) fn off(command_line: &str) -> ! {
    let command = match crate::init::option(command_line, "virtmark.shutdown") {
        Some("poweroff") => RebootCommand::PowerOff,
        Some("restart") => RebootCommand::Restart,
        _ if Path::new("/sys/firmware/acpi").exists() => RebootCommand::PowerOff,
        _ => RebootCommand::Restart,
    };
    rustix::fs::sync();
    loop {
        if let Err(error) = reboot(command) {
            eprintln!("virtmark-agent: cannot {command:?}: {error}");
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Kills this process's children and what comes to it from them, as init every other process, until nothing is left or
/// it refuses to die.
pub(crate) fn kill_all(is_init: bool) {
    let deadline = Instant::now() + KILL_GRACE;
    loop {
        let own = std::process::id();
        for process in processes().into_iter().filter(|process| is_init || process.parent == own) {
            kill(process.pid);
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // No child is left.
                Err(_) => return,
            }
        }
        if Instant::now() >= deadline {
            return;
        }
        // What was killed is not gone at once, and its children come only then.
        thread::sleep(Duration::from_micros(200));
    }
}

struct Process {
    pid: u32,
    parent: u32,
}

/// All processes of this PID namespace.
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let parent = parent_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
            Some(Process { pid, parent })
        })
        .collect()
}

/// The fourth field of `/proc/PID/stat`, behind the name in parentheses, which may contain anything.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|pid| !pid.is_init()) {
        // A child keeps its number until it is waited for, which happens nowhere else meanwhile: nobody else is hit.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("7"), None);
        assert_eq!(parent_of("7 (sh) S 1 7 7"), Some(1));
        assert_eq!(parent_of("7 (a) R 5) S 12 7 7"), Some(12));
    }
}
