//! A command that is run while machines are there.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use virtmark_fleet::provider::Replicas;
use virtmark_host::process::RUN_ID_VARIABLE;
use virtmark_host::signals::Interrupt;

use super::Deaths;
use super::place::Place;
use crate::exit::Exit;
use crate::progress::Progress;

/// Between two looks at the user's wishes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a command that the terminal told of Ctrl-C may take to end before it is asked itself, and then until it is
/// killed.
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
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
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
    loop {
        match told.recv_timeout(LOOK) {
            Ok(status) => return status.context("cannot wait for the command of --exec"),
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
            // It is not reaped before the next look, so its pid is its own; one that has ended needs no signal.
            let _ = pid.map(|pid| kill_process(pid, how));
            next = Some((Instant::now() + PATIENCE, Signal::KILL));
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
