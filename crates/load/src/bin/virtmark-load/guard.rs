//! A process that stands between the generator and whoever started it, when the generator starts processes.
//!
//! SIGKILL leaves a process no time to end what it started. So two look after each other: the generator is in a group
//! of its own and ends everything when its standard input ends, which it does with its guard; and what the generator
//! leaves when it is killed comes to the guard.

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use virtmark_load::Cancel;

use crate::{GUARDED, descendants};

/// How long nobody looks whether the run is to stop.
const SLICE: Duration = Duration::from_millis(50);

/// Starts the generator, and waits for its end. Nothing that it started is left then.
pub(crate) fn run(job: &str, cancel: &Cancel) -> io::Result<ExitCode> {
    descendants::adopt()?;
    let mut generator = Command::new("/proc/self/exe")
        .arg0("virtmark-load")
        .arg(GUARDED)
        .process_group(0)
        .stdin(Stdio::piped())
        .spawn()?;
    let ended = pidfd_open(Pid::from_child(&generator), PidfdFlags::empty())?;
    let mut stdin = generator.stdin.take();
    if let Some(stdin) = &mut stdin {
        // A file may have the job on several lines, but only spaces between them.
        stdin.write_all(job.replace(['\r', '\n'], " ").as_bytes())?;
        stdin.write_all(b"\n")?;
    }
    let status = loop {
        if let Some(status) = generator.try_wait()? {
            break status;
        }
        if cancel.is_cancelled() {
            stdin = None;
        }
        let timeout = Timespec::try_from(SLICE).ok();
        // Whatever it was that ended the wait, the loop looks again.
        let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], timeout.as_ref());
    };
    drop(stdin);
    descendants::end_all();
    match (status.code(), status.signal()) {
        (Some(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Err(io::Error::other(format!("it was killed by signal {signal} while it measured")))
        }
    }
}
