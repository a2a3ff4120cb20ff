//! A process that stands between a service and whoever started it.
//!
//! SIGKILL leaves a service no time to kill what it started. So two processes look after each other: the agent ends
//! everything when its guard ends, and what the agent leaves when it is killed comes to the guard, which ends it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, set_child_subreaper};

use crate::options::{Options, Serve};
use crate::reap::Reaper;
use crate::{inherited, power};

/// Starts the agent and waits for its end, or for SIGTERM. Nothing that either started is left then.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    // Fails only for names that are too long.
    let _ = rustix::thread::set_name(c"virtmark-guard");
    let passed = if let Serve::Fd(number) = options.serve { Some(number) } else { None };
    inherited::keep_private(passed)?;
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut reaper = Reaper::install(false)?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--guard");
    // A group of its own: what kills the guard's group must not kill the agent before it has cleaned up.
    let agent = Command::new("/proc/self/exe")
        .arg0("virtmark-agent")
        .args(arguments)
        .args(["--parent", &std::process::id().to_string()])
        .process_group(0)
        .spawn()?;
    let agent = Pid::from_child(&agent);
    while !reaper.terminated() && !has_ended(&mut reaper, agent) {
        match poll(&mut [PollFd::new(&reaper, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    power::kill_all(false);
    Ok(())
}

fn has_ended(reaper: &mut Reaper, agent: Pid) -> bool {
    reaper.acknowledge();
    while let Some(child) = reaper.next() {
        if child.pid == agent {
            return true;
        }
    }
    false
}
