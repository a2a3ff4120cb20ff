use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid, waitpid,
};

use super::registry;
use super::usage::{ProcessUsage, usage};
use crate::proc::ProcStat;

/// How long a dropped child is waited for after SIGKILL. A guest's gigabytes take a while to free; a process stuck
/// in the kernel for longer dies when the kernel lets go of it.
const DROP_WAIT: Duration = Duration::from_secs(30);

/// A running child process; dropping it kills its process group and reaps it.
///
/// Every method takes `&self`, so an `Arc<Child>` lets one thread wait for the exit while another talks to the
/// child. When the child ends, what is left of its process group is killed before it is reaped.
#[derive(Debug)]
pub struct Child {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) name: String,
    pub(super) pid: Pid,
    pidfd: OwnedFd,
    start_ticks: u64,
    /// Held while a signal is sent and while the child is reaped: until then its pid and group id are its own.
    exit: Mutex<Option<ExitStatus>>,
}

impl Child {
    /// Takes over an unreaped child of this process that leads its own process group.
    pub(super) fn adopt(name: String, pid: Pid) -> io::Result<Self> {
        let observed = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(|pidfd| {
            // A child that has ended is a zombie until it is reaped, so its entry is still there.
            let stat = ProcStat::read(pid.as_raw_pid()).ok_or(io::ErrorKind::NotFound)?;
            Ok((pidfd, stat.start_ticks))
        });
        let (pidfd, start_ticks) = observed.inspect_err(|_| {
            // Fails only for a child that has ended; either way it is reaped here.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        })?;
        let inner = Arc::new(Inner { name, pid, pidfd, start_ticks, exit: Mutex::new(None) });
        registry::register(&inner);
        Ok(Self { inner })
    }

    /// Name it was started under.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its pid, which is also the id of its process group.
    pub fn pid(&self) -> i32 {
        self.inner.pid.as_raw_pid()
    }

    /// Clock ticks from the boot of the host to its start; with the pid it identifies the process.
    pub fn start_ticks(&self) -> u64 {
        self.inner.start_ticks
    }

    /// A descriptor that polls as readable once the child has ended, for waiting on it and on a socket at once.
    pub fn exit_fd(&self) -> BorrowedFd<'_> {
        self.inner.pidfd.as_fd()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    ///
    /// If other code in this process has reaped the child.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.inner.reap().expect("only this handle reaps the child")
    }

    /// How it ended, waiting for that at most so long; `None` when it still runs then.
    ///
    /// # Panics
    ///
    /// If other code in this process has reaped the child.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitStatus> {
        self.inner.poll_exit(Some(timeout));
        self.try_wait()
    }

    /// How it ended, waiting for as long as it takes.
    ///
    /// # Panics
    ///
    /// If other code in this process has reaped the child.
    pub fn wait(&self) -> ExitStatus {
        loop {
            self.inner.poll_exit(None);
            if let Some(status) = self.try_wait() {
                return status;
            }
        }
    }

    /// Asks the child itself to end (SIGTERM); nothing happens when it already has.
    pub fn terminate(&self) {
        self.inner.signal(Signal::TERM);
    }

    /// Ends the child itself (SIGKILL); nothing happens when it already has. Does not wait.
    pub fn kill(&self) {
        self.inner.signal(Signal::KILL);
    }

    /// Ends the child and all of its process group (SIGKILL). Does not wait.
    pub fn kill_group(&self) {
        self.inner.kill_group();
    }

    /// CPU time and memory it has used; `None` once it has ended.
    pub fn usage(&self) -> Option<ProcessUsage> {
        let exit = self.inner.lock();
        if exit.is_some() { None } else { usage(self.pid()) }
    }
}

impl Inner {
    pub(super) fn is_reaped(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether there was a child to kill.
    pub(super) fn kill_group(&self) -> bool {
        let exit = self.lock();
        if exit.is_some() {
            return false;
        }
        // The only failure left is that all of the group have ended already.
        let _ = kill_process_group(self.pid, Signal::KILL);
        true
    }

    fn signal(&self, signal: Signal) {
        let exit = self.lock();
        if exit.is_none() {
            // As in `kill_group`: a child that has ended cannot and need not be signalled.
            let _ = pidfd_send_signal(&self.pidfd, signal);
        }
    }

    fn poll_exit(&self, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }

    /// Looks without reaping first: while the child is a zombie its pid stays taken, and with it the id of the
    /// group whose stragglers are to be killed.
    fn reap(&self) -> io::Result<Option<ExitStatus>> {
        let mut exit = self.lock();
        if exit.is_none() {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            if waitid(WaitId::PidFd(self.pidfd.as_fd()), look | WaitIdOptions::NOWAIT)?.is_some() {
                let _ = kill_process_group(self.pid, Signal::KILL);
                *exit = waitid(WaitId::PidFd(self.pidfd.as_fd()), look)?.map(|status| {
                    let core_dumped = if status.dumped() { 0x80 } else { 0 };
                    let code = status.exit_status().unwrap_or(0) << 8;
                    // The layout of wait(2): exit code above, signal and core flag below.
                    ExitStatus::from_raw(code | status.terminating_signal().unwrap_or(0) | core_dumped)
                });
            }
        }
        Ok(*exit)
    }

    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.kill_group() {
            self.poll_exit(Some(DROP_WAIT));
            // Nobody is left who could be told.
            let _ = self.reap();
        }
    }
}

/// How a process ended, in words: `exited with code 1`, `killed by signal 9 (SIGKILL)`.
pub fn describe_exit(status: ExitStatus) -> String {
    if let Some(code) = status.code() {
        return format!("exited with code {code}");
    }
    let Some(number) = status.signal() else {
        return format!("ended with wait status {:#x}", status.into_raw());
    };
    let core = if status.core_dumped() { ", core dumped" } else { "" };
    match signal_hook::low_level::signal_name(number) {
        Some(name) => format!("killed by signal {number} ({name}){core}"),
        None => format!("killed by signal {number}{core}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_a_sentence() {
        assert_eq!(describe_exit(ExitStatus::from_raw(1 << 8)), "exited with code 1");
        assert_eq!(describe_exit(ExitStatus::from_raw(0)), "exited with code 0");
        assert_eq!(describe_exit(ExitStatus::from_raw(9)), "killed by signal 9 (SIGKILL)");
        assert_eq!(
            describe_exit(ExitStatus::from_raw(11 | 0x80)),
            "killed by signal 11 (SIGSEGV), core dumped"
        );
    }
}
