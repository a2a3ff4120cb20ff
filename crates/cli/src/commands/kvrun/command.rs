//! A command that is run while machines are there.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use virtmark_fleet::provider::Replicas;
use virtmark_host::process::RUN_ID_VARIABLE;
use virtmark_host::signals::Interrupt;

use super::Deaths;
use super::family::Family;
use super::place::Place;
use crate::exit::Exit;
use crate::progress::Progress;

/// Between two looks at the user's wishes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a command that the terminal told of Ctrl-C may take to end before it is asked itself, and then until it is
/// killed, with all that it has started.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a line of the shell, with the files of the machines in its environment; its exit is the program's.
pub(super) fn run(
    line: &str,
    place: &Place,
    machines: &Replicas,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<Exit> {
    let shown = place.shown();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    // In the same process group, so that it may use the terminal and hears of Ctrl-C. What it leaves running is known by
    // the run's id, and ends with the machines.
    command.env(RUN_ID_VARIABLE, &shown.id);
    command.env("VIRTMARK_MAP", &shown.map);
    command.env("VIRTMARK_MAP_JSON", &shown.map_json);
    command.env("VIRTMARK_AUTH", &shown.auth);
    command.env("VIRTMARK_KNOWN_HOSTS", &shown.known_hosts);
    command.env("VIRTMARK_SSH_CONFIG", &shown.ssh_config);
    let child = command.spawn().context("cannot start /bin/sh for the command of --exec")?;
    let status = wait(child, machines, interrupt, progress)?;
    Ok(Exit::Command(code_of(status)))
}

fn wait(
    mut child: Child,
    machines: &Replicas,
    interrupt: &Interrupt,
    progress: &Progress,
) -> anyhow::Result<ExitStatus> {
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch the command of --exec")?;
    let (tell, told) = mpsc::channel();
    thread::Builder::new()
        .name("command".into())
        .spawn(move || {
            // Whoever waits is there until it is told.
            let _ = tell.send(child.wait());
        })
        .context("cannot wait for the command of --exec")?;
    let mut deaths = Deaths::default();
    let mut next = None;
    // Those who were asked to end, and until when they may.
    let mut asked: Option<(Family, Instant)> = None;
    loop {
        match told.recv_timeout(LOOK) {
            Ok(status) => {
                // A shell that is asked ends at once; what it ran may have something to bring to an end.
                if let Some((family, until)) = asked
                    && !family.wait(until)
                {
                    family.signal(Signal::KILL);
                }
                return status.context("cannot wait for the command of --exec");
            }
            Err(RecvTimeoutError::Disconnected) => {
                anyhow::bail!("the command of --exec cannot be waited for any more")
            }
            Err(RecvTimeoutError::Timeout) => deaths.look(machines, progress),
        }
        let Some(signal) = interrupt.signal() else { continue };
        let (at, how) = *next.get_or_insert_with(|| {
            // A terminal has told it already.
            let patience = if signal == Signal::INT.as_raw() { PATIENCE } else { Duration::ZERO };
            (Instant::now() + patience, Signal::TERM)
        });
        if Instant::now() >= at {
            let until = Instant::now() + PATIENCE;
            let process = process.try_clone().context("cannot watch the command of --exec")?;
            let family = Family::of(process, pid);
            family.signal(how);
            // Of those who were asked, some may have been left by who started them.
            if let Some((earlier, _)) = &asked {
                earlier.signal(how);
            }
            asked.get_or_insert((family, until));
            next = Some((until, Signal::KILL));
        }
    }
}

/// As a shell says it.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_a_shell() {
        let code = |line: &str| code_of(Command::new("/bin/sh").args(["-c", line]).status().unwrap());
        assert_eq!((code("exit 0"), code("exit 7"), code("kill -9 $$")), (0, 7, 137));
    }
}
