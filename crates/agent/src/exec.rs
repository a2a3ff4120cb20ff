//! Commands: starting them, and the state of one that runs.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use virtmark_protocol::{Exec, Program, STDIN_WINDOW_BYTES, Status};

pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub(crate) const DEFAULT_HOME: &str = "/root";

/// How long the streams of a command that was killed at its time limit may stay open.
const STREAMS_GRACE: Duration = Duration::from_millis(200);

/// Where the host's virtmark finds the processes of a run that was killed.
const RUN_ID_VARIABLE: &str = "VIRTMARK_RUN_ID";

/// What every command finds in its environment.
pub(crate) struct BaseEnvironment {
    path: String,
    home: String,
    run_id: Option<String>,
}

impl BaseEnvironment {
    /// As init, fixed values: what the kernel gives to init is not meant for a shell. Otherwise the agent's own.
    pub(crate) fn new(is_init: bool) -> Self {
        let own = |name: &str| std::env::var(name).ok().filter(|_| !is_init);
        Self {
            path: own("PATH").unwrap_or_else(|| DEFAULT_PATH.into()),
            home: own("HOME").unwrap_or_else(|| DEFAULT_HOME.into()),
            run_id: own(RUN_ID_VARIABLE),
        }
    }
}

/// A command that runs, or that has ended while its output streams have not.
pub(crate) struct Running {
    pub(crate) request: u32,
    pub(crate) pid: Pid,
    /// Standard output, then standard error, while they are open.
    pub(crate) outputs: [Option<File>; 2],
    /// Bytes of output that the host is ready to take.
    pub(crate) credit_bytes: usize,
    pub(crate) stdin: Input,
    pub(crate) deadline: Option<Instant>,
    /// The process has been waited for: its number may belong to another process soon.
    pub(crate) ended: bool,
    timed_out: bool,
}

/// Why a command did not start.
pub(crate) enum StartError {
    /// As a shell would report it: exit status and message.
    Result(i32, String),
    /// The request itself cannot be met.
    Request(io::Error, String),
}

impl Running {
    /// Starts a command in a process group of its own.
    pub(crate) fn start(request: u32, exec: &Exec<'_>, base: &BaseEnvironment) -> Result<Self, StartError> {
        let path = exec.env.iter().rfind(|(name, _)| *name == "PATH").map_or(&*base.path, |(_, path)| path);
        let (name, program, arguments) = match &exec.program {
            Program::Argv(argv) => {
                let Some((name, arguments)) = argv.split_first() else {
                    return Err(StartError::Request(
                        io::ErrorKind::InvalidInput.into(),
                        "run nothing".into(),
                    ));
                };
                (*name, find(name, path, exec.cwd)?, arguments.to_vec())
            }
            Program::Shell(line) => ("/bin/sh", PathBuf::from("/bin/sh"), vec!["-c", line]),
        };
        // The program is a path and no code runs between fork and exec, so that the standard library can spawn
        // without copying this process's page tables.
        let mut command = Command::new(program);
        command
            .arg0(name)
            .args(arguments)
            .env_clear()
            .env("PATH", &base.path)
            .env("HOME", &base.home)
            .envs(base.run_id.iter().map(|id| (RUN_ID_VARIABLE, id)))
            .envs(exec.env.iter().copied())
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let wants_stdin = exec.stdin_follows || !exec.stdin.is_empty();
        command.stdin(if wants_stdin { Stdio::piped() } else { Stdio::null() });
        if let Some(cwd) = exec.cwd {
            fs::read_dir(cwd).map_err(|error| StartError::Request(error, format!("enter {cwd}")))?;
            command.current_dir(cwd);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StartError::Result(127, format!("{name}: not found\n")),
            // For want of processes, memory or descriptors, which says nothing about the command.
            _ if is_exhaustion(&error) => StartError::Request(error, format!("start {name}")),
            _ => StartError::Result(126, format!("{name}: {}\n", words(&error))),
        })?;
        let mut running = Self {
            request,
            // The number of a process that was just started is positive.
            pid: Pid::from_child(&child),
            outputs: [child.stdout.take().map(into_file), child.stderr.take().map(into_file)],
            credit_bytes: exec.window_bytes as usize,
            stdin: Input::new(child.stdin.take().map(into_file), exec.stdin_follows),
            deadline: exec.timeout_ns.and_then(|ns| Instant::now().checked_add(Duration::from_nanos(ns))),
            ended: false,
            timed_out: false,
        };
        running.stdin.push(exec.stdin);
        running.stdin.write();
        Ok(running)
    }

    /// Kills the whole process group.
    pub(crate) fn kill(&self) {
        // It may be gone already.
        let _ = kill_process_group(self.pid, Signal::KILL);
    }

    /// When the time limit has passed, kills the group, or stops waiting for what outlived its command.
    pub(crate) fn check_deadline(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        self.kill();
        if self.ended {
            self.outputs = [None, None];
        } else {
            self.timed_out = true;
        }
    }

    /// Takes note of the process's end, and gives the status to report.
    pub(crate) fn end(&mut self, status: Status) -> Status {
        self.ended = true;
        self.stdin.close();
        if !self.timed_out {
            return status;
        }
        // Its group is dead, so the streams end now, unless a process that left the group holds them.
        self.deadline = Some(Instant::now() + STREAMS_GRACE);
        Status::TimedOut
    }

    /// Whether both output streams have ended.
    pub(crate) fn output_ended(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }
}

/// Standard input on its way to a command.
pub(crate) struct Input {
    pub(crate) pipe: Option<File>,
    waiting: VecDeque<u8>,
    /// The host will send more, or end it.
    follows: bool,
    /// Bytes taken since the host was last told.
    taken_bytes: usize,
}

impl Input {
    fn new(pipe: Option<File>, follows: bool) -> Self {
        if let Some(pipe) = &pipe {
            // This end alone: a command that does not read must not stop the agent. Cannot fail on an open pipe.
            let _ = fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK));
        }
        Self { pipe, waiting: VecDeque::new(), follows, taken_bytes: 0 }
    }

    /// Takes more from the host; `false` if that is more than the host was allowed to send.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        if self.pipe.is_none() {
            self.taken_bytes += bytes.len();
            return true;
        }
        self.waiting.extend(bytes);
        self.waiting.len() <= STDIN_WINDOW_BYTES
    }

    /// No more comes from the host.
    pub(crate) fn finish(&mut self) {
        self.follows = false;
    }

    /// Whether it has something for the command.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pipe.is_some() && !self.waiting.is_empty()
    }

    /// Writes as much as the command takes now; closes the pipe after the last byte.
    pub(crate) fn write(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            if self.waiting.is_empty() {
                if !self.follows {
                    self.pipe = None;
                }
                return;
            }
            match pipe.write(self.waiting.as_slices().0) {
                Ok(bytes) => {
                    self.waiting.drain(..bytes);
                    self.taken_bytes += bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The command has closed its end: the rest is for nobody.
                Err(_) => self.close(),
            }
        }
    }

    /// Bytes that the host may send instead of those taken; 0 when it has nothing more to send.
    pub(crate) fn take_credit(&mut self) -> u32 {
        let taken_bytes = std::mem::take(&mut self.taken_bytes);
        // At most a window.
        if self.follows { taken_bytes as u32 } else { 0 }
    }

    fn close(&mut self) {
        self.pipe = None;
        self.taken_bytes += self.waiting.len();
        self.waiting.clear();
    }
}

/// Finds a program as a shell does.
fn find(name: &str, path: &str, cwd: Option<&str>) -> Result<PathBuf, StartError> {
    if name.contains('/') {
        return Ok(name.into());
    }
    let mut denied = None;
    for directory in path.split(':') {
        let candidate = Path::new(cwd.unwrap_or(".")).join(directory).join(name);
        match fs::metadata(&candidate) {
            Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => {
                return Ok(candidate);
            }
            Ok(metadata) if metadata.is_file() => denied = Some("permission denied"),
            _ => {}
        }
    }
    Err(match denied {
        Some(reason) => StartError::Result(126, format!("{name}: {reason}\n")),
        None => StartError::Result(127, format!("{name}: not found\n")),
    })
}

fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| exhausted.contains(&code))
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn into_file(pipe: impl Into<OwnedFd>) -> File {
    File::from(pipe.into())
}
