//! The one place that waits for children: commands, and orphans that come to this process.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Pid;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use virtmark_protocol::{ResourceUse, Status};

use crate::line::read_again;

/// Turns SIGCHLD into a readable descriptor, and children that ended into values.
pub(crate) struct Reaper {
    wake: UnixStream,
    terminated: Arc<AtomicBool>,
}

/// A child that ended.
pub(crate) struct Ended {
    pub(crate) pid: Pid,
    pub(crate) status: Status,
    pub(crate) resource_use: ResourceUse,
}

impl Reaper {
    /// Catches SIGCHLD, and as a service SIGTERM and SIGINT too.
    pub(crate) fn install(is_init: bool) -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let terminated = Arc::new(AtomicBool::new(false));
        if !is_init {
            for signal in [SIGINT, SIGTERM] {
                signal_hook::flag::register(signal, terminated.clone())?;
                signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
            }
        }
        signal_hook::low_level::pipe::register(SIGCHLD, waker)?;
        Ok(Self { wake, terminated })
    }

    /// Whether the agent was asked by a signal to end.
    pub(crate) fn terminated(&self) -> bool {
        self.terminated.load(Ordering::Relaxed)
    }

    /// Takes note of the signals so far. To be called before [`next`](Self::next), so that no later child is missed.
    pub(crate) fn acknowledge(&mut self) {
        let mut buffer = [0; 64];
        while read_again(&mut self.wake, &mut buffer).is_ok_and(|read| read == buffer.len()) {}
    }

    /// A child that has ended, if there is one that was not given yet.
    pub(crate) fn next(&self) -> Option<Ended> {
        loop {
            let (pid, status, usage) = wait_any()?;
            let status = if libc::WIFSIGNALED(status) {
                Status::Signaled(libc::WTERMSIG(status))
            } else {
                Status::Exited(libc::WEXITSTATUS(status))
            };
            if let Some(pid) = Pid::from_raw(pid) {
                return Some(Ended { pid, status, resource_use: resource_use(&usage) });
            }
        }
    }
}

impl AsFd for Reaper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// `wait4` for any child, without waiting. No safe interface gives the resource use with it.
#[allow(unsafe_code)]
fn wait_any() -> Option<(i32, i32, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for writes of their type for the duration of the call.
    let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    // SAFETY: all bits zero is a valid rusage, and the kernel overwrites it only with valid ones.
    (pid > 0).then(|| (pid, status, unsafe { usage.assume_init() }))
}

fn resource_use(usage: &libc::rusage) -> ResourceUse {
    // None of these is negative.
    let nanoseconds = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
    ResourceUse {
        user_ns: nanoseconds(usage.ru_utime),
        system_ns: nanoseconds(usage.ru_stime),
        max_rss_bytes: usage.ru_maxrss as u64 * 1024,
        context_switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
    }
}
