//! Programs, one process for each call.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, kill_process_group,
    pidfd_open, waitid, waitpgid,
};

use crate::job::CommandSpec;
use crate::target::{CallFailure, Limit, Target, Worker};

/// How much of what a command wrote last to standard error goes into its message.
const TAIL_BYTES: usize = 1024;

/// A program that was found.
pub(crate) struct CommandTarget {
    program: PathBuf,
    spec: CommandSpec,
}

impl CommandTarget {
    pub(crate) fn new(spec: &CommandSpec) -> Result<Self, CallFailure> {
        let name = spec.argv.first().map_or("", String::as_str);
        let own_path = env::var_os("PATH").unwrap_or_default();
        let path = spec.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, path)| OsStr::new(path));
        let program = find(name, path.unwrap_or(&own_path)).ok_or_else(|| {
            CallFailure::new(
                "spawn",
                format!("there is no program {name:?} that can be executed; give its path"),
            )
        })?;
        Ok(Self { program, spec: spec.clone() })
    }
}

impl Target for CommandTarget {
    fn worker(&self, _: usize) -> Result<Box<dyn Worker>, CallFailure> {
        // No code runs between fork and exec, so that the standard library can spawn without copying page tables.
        let mut command = Command::new(&self.program);
        if let Some((name, arguments)) = self.spec.argv.split_first() {
            command.arg0(name).args(arguments);
        }
        command
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(Box::new(CommandWorker { command, tail: Vec::new() }))
    }
}

struct CommandWorker {
    command: Command,
    /// What the process of this call wrote last to standard error.
    tail: Vec<u8>,
}

impl Worker for CommandWorker {
    fn call(&mut self, limit: &Limit) -> Result<(), CallFailure> {
        self.tail.clear();
        let spawned = self.command.spawn();
        let mut child = spawned.map_err(|error| {
            CallFailure::new("spawn", format!("cannot start {:?}: {error}", self.command.get_program()))
        })?;
        let pid = Pid::from_child(&child);
        let waited = match child.stderr.take() {
            Some(stderr) => self.wait(pid, stderr, limit),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        // Until it is reaped its number is its own, and so is that of its group.
        let _ = kill_process_group(pid, Signal::KILL);
        let status = reap(pid);
        match waited {
            Ok(true) => {}
            Ok(false) => {
                return Err(CallFailure::timeout(format!(
                    "the command was killed: it took too long{}",
                    self.said()
                )));
            }
            Err(error) => {
                return Err(CallFailure::new("spawn", format!("cannot watch the command: {error}")));
            }
        }
        match status.map(|status| (status.exit_status(), status.terminating_signal())) {
            Some((Some(0), _)) => Ok(()),
            Some((Some(code), _)) => Err(CallFailure::new(
                "exit_code",
                format!("the command ended with exit code {code}{}", self.said()),
            )),
            Some((_, Some(signal))) => Err(CallFailure::new(
                "killed",
                format!("the command was killed by signal {signal}{}", self.said()),
            )),
            _ => Err(CallFailure::new("killed", "the command's end was seen by somebody else")),
        }
    }
}

impl CommandWorker {
    /// Reads standard error until the process has ended; `false` when its time has passed before.
    fn wait(&mut self, pid: Pid, stderr: ChildStderr, limit: &Limit) -> io::Result<bool> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        fcntl_setfl(&stderr, fcntl_getfl(&stderr)? | OFlags::NONBLOCK)?;
        let mut stderr = Some(stderr);
        loop {
            let slice = limit.slice();
            if slice.is_zero() {
                return Ok(false);
            }
            let timeout = Timespec::try_from(slice).ok();
            let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
            fds.extend(stderr.as_ref().map(|stderr| PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN)));
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ended = !fds[0].revents().is_empty();
            if let Some(pipe) = &mut stderr
                && !self.read(pipe)?
            {
                stderr = None;
            }
            if ended {
                return Ok(true);
            }
        }
    }

    /// Takes what is there, a pipe's content at most; `false` at its end.
    fn read(&mut self, stderr: &mut ChildStderr) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..4 {
            match stderr.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(bytes) => {
                    self.tail.extend_from_slice(&buffer[..bytes]);
                    self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!("; it said: {text}") }
    }
}

/// Waits for the end of a process whose group was killed, and takes those of its group that came to this process.
fn reap(pid: Pid) -> Option<WaitIdStatus> {
    let status = loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(status) => break status,
            Err(_) => break None,
        }
    };
    while let Ok(Some(_)) = waitpgid(pid, WaitOptions::NOHANG) {}
    status
}

/// Finds a program as a shell does.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let is_program = |candidate: &Path| {
        fs::metadata(candidate).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| is_program(path));
    }
    env::split_paths(path).map(|directory| directory.join(name)).find(|candidate| is_program(candidate))
}
