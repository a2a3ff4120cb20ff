//! Finds and ends every process of a run: those on record, their process groups, and whatever carries the run's id
//! in its environment.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;

use super::log::Recorded;
use crate::proc::ProcStat;
use crate::process::RUN_ID_VARIABLE;

/// Long enough to free the memory of large guests, short enough for a start to give up and say so.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KilledProcess {
    /// Its pid.
    pub pid: i32,
    /// Name on record; absent for a descendant of a recorded process.
    pub name: Option<String>,
}

/// What became of a run's processes.
#[derive(Debug, Default)]
pub(super) struct Hunt {
    pub(super) killed: Vec<KilledProcess>,
    /// Processes that did not end, or may not be ended by this user.
    pub(super) survivors: Vec<i32>,
}

/// Ends all processes of the run and waits until they are gone.
///
/// A recorded pid counts only with its start time, so that a process which got the number later is not touched. A
/// process group counts while its recorded leader lives; after that, members are known by the run's id alone.
pub(super) fn hunt(id: &str, recorded: &[Recorded]) -> Hunt {
    let deadline = Instant::now() + PATIENCE;
    let mut quarry = Quarry { marker: format!("{RUN_ID_VARIABLE}={id}"), recorded, groups: Vec::new() };
    let mut hunt = Hunt::default();
    loop {
        // Again and again, as a process may have forked between being found and being killed.
        let found = quarry.find();
        if found.is_empty() {
            return hunt;
        }
        let (mut dying, mut all_gone) = (Vec::new(), true);
        for stat in &found {
            let Some(pidfd) = open_same(stat) else { continue };
            match pidfd_send_signal(&pidfd, Signal::KILL) {
                Ok(()) => {
                    hunt.note(KilledProcess { pid: stat.pid, name: quarry.name_of(stat) });
                    dying.push(pidfd);
                }
                Err(Errno::SRCH) => {}
                Err(_) => all_gone = false,
            }
        }
        all_gone &= dying.iter().all(|pidfd| wait_until_gone(pidfd, deadline));
        if !all_gone || Instant::now() >= deadline {
            hunt.survivors =
                found.iter().filter(|stat| open_same(stat).is_some()).map(|stat| stat.pid).collect();
            return hunt;
        }
    }
}

impl Hunt {
    fn note(&mut self, killed: KilledProcess) {
        if !self.killed.contains(&killed) {
            self.killed.push(killed);
        }
    }
}

struct Quarry<'a> {
    marker: String,
    recorded: &'a [Recorded],
    /// Groups whose recorded leader has been seen alive.
    groups: Vec<i32>,
}

impl Quarry<'_> {
    fn find(&mut self) -> Vec<ProcStat> {
        for leader in self.recorded {
            if ProcStat::read(leader.pid).is_some_and(|stat| is_same(leader, &stat))
                && !self.groups.contains(&leader.pid)
            {
                self.groups.push(leader.pid);
            }
        }
        let own_pid = std::process::id();
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|&pid| pid > 1 && pid as u32 != own_pid)
            .filter_map(ProcStat::read)
            .filter(|stat| stat.is_running() && self.belongs(stat))
            .collect()
    }

    fn belongs(&self, stat: &ProcStat) -> bool {
        self.groups.contains(&stat.group)
            || self.recorded.iter().any(|leader| is_same(leader, stat))
            || self.carries_marker(stat.pid)
    }

    fn carries_marker(&self, pid: i32) -> bool {
        // Not readable: not ours, or gone.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == self.marker.as_bytes())
    }

    fn name_of(&self, stat: &ProcStat) -> Option<String> {
        self.recorded.iter().find(|leader| is_same(leader, stat)).map(|leader| leader.name.clone())
    }
}

fn is_same(recorded: &Recorded, stat: &ProcStat) -> bool {
    recorded.pid == stat.pid && recorded.start_ticks == stat.start_ticks
}

/// A handle on exactly the process that was seen, unless it is gone. Checked after opening: the pid may have passed
/// on before that, but what is then found under it started later.
fn open_same(seen: &ProcStat) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(seen.pid)?, PidfdFlags::empty()).ok()?;
    let now = ProcStat::read(seen.pid)?;
    (now.start_ticks == seen.start_ticks && now.is_running()).then_some(pidfd)
}

/// Whether the process behind a pidfd ends until then.
pub fn wait_until_gone(pidfd: impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A time beyond what the system can tell is as good as none.
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_is_waited_for_and_no_longer_than_wanted() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(!wait_until_gone(&process, Instant::now() + Duration::from_millis(20)));
        pidfd_send_signal(&process, Signal::TERM).unwrap();
        assert!(wait_until_gone(&process, Instant::now() + Duration::from_secs(60)));
        child.wait().unwrap();
    }
}
