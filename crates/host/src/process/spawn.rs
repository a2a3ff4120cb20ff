use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::child::Child;
use super::error::ProcessError;
use super::lockdown::Lockdown;
use super::{RUN_ID_VARIABLE, spawner};
use crate::rundir::{ProcessLog, RunDir};

/// Where a standard stream of a child leads.
#[derive(Debug, Default)]
pub enum Stream {
    /// An open descriptor.
    Fd(OwnedFd),
    /// A file; output is appended to it, and it is created when missing.
    File(PathBuf),
    /// Nowhere.
    #[default]
    Null,
}

/// A child process to be started.
///
/// The standard streams lead nowhere and the environment is inherited unless said otherwise.
#[derive(Debug)]
pub struct Spawn {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    clear_environment: bool,
    environment: Vec<(OsString, OsString)>,
    current_dir: Option<PathBuf>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    passed: Vec<OwnedFd>,
    lockdown: Option<Lockdown>,
}

impl Spawn {
    /// A program to start: what it is to us (for messages and the record), and its path. A program without a slash
    /// is looked up in `PATH`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            clear_environment: false,
            environment: Vec::new(),
            current_dir: None,
            stdin: Stream::Null,
            stdout: Stream::Null,
            stderr: Stream::Null,
            passed: Vec::new(),
            lockdown: None,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Starts from an empty environment instead of virtmark's own.
    pub fn clear_env(&mut self) -> &mut Self {
        self.clear_environment = true;
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    pub fn current_dir(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
        self.current_dir = Some(directory.into());
        self
    }

    /// Sets standard input.
    pub fn stdin(&mut self, stream: Stream) -> &mut Self {
        self.stdin = stream;
        self
    }

    /// Sets standard output.
    pub fn stdout(&mut self, stream: Stream) -> &mut Self {
        self.stdout = stream;
        self
    }

    /// Sets standard error.
    pub fn stderr(&mut self, stream: Stream) -> &mut Self {
        self.stderr = stream;
        self
    }

    /// Passes a descriptor, and gives the number that it has in the child: the one it has here.
    ///
    /// This process's copy is closed once the child is started. No other child inherits it.
    pub fn pass_fd(&mut self, fd: OwnedFd) -> RawFd {
        let number = fd.as_raw_fd();
        self.passed.push(fd);
        number
    }

    /// Has it give up rights before it executes the program, which it must then still be able to execute.
    pub fn lock_down(&mut self, lockdown: Lockdown) -> &mut Self {
        self.lockdown = Some(lockdown);
        self
    }

    /// Program and arguments on one line, for logs and messages.
    pub fn command_line(&self) -> String {
        let words =
            std::iter::once(self.program.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Starts it, recorded in the run directory before the program executes its first instruction.
    ///
    /// Returns when the program is executed. A program that is set-user-ID or has file capabilities loses the
    /// kernel's parent-death signal (prctl(2)); should virtmark be killed, it lives until the next start.
    pub fn start(self, run_dir: &RunDir) -> Result<Child, ProcessError> {
        if let Some(fd) = self.passed.iter().find(|fd| fd.as_raw_fd() <= 2) {
            return Err(ProcessError::PassedFd { name: self.name, number: fd.as_raw_fd() });
        }
        let Self { name, program, .. } = self;
        let mut command = Command::new(&program);
        command.args(self.arguments).process_group(0);
        if self.clear_environment {
            command.env_clear();
        }
        command.envs(self.environment).env(RUN_ID_VARIABLE, run_dir.id());
        if let Some(directory) = self.current_dir {
            command.current_dir(directory);
        }
        let open_error = |(path, source)| ProcessError::Open { name: name.clone(), path, source };
        command.stdin(input(self.stdin).map_err(open_error)?);
        command.stdout(output(self.stdout).map_err(open_error)?);
        command.stderr(output(self.stderr).map_err(open_error)?);
        prepare_child(&mut command, self.passed, self.lockdown, run_dir.process_log(&name));

        let pid = match spawner::spawn(command) {
            Ok(pid) => pid,
            Err(source) => return Err(ProcessError::Spawn { name, program, source }),
        };
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .expect("the kernel's pids are positive 32-bit numbers");
        Child::adopt(name.clone(), pid).map_err(|source| ProcessError::Observe {
            name,
            pid: pid.as_raw_pid(),
            source,
        })
    }
}

/// What the child does between fork and exec.
#[allow(unsafe_code)]
fn prepare_child(command: &mut Command, passed: Vec<OwnedFd>, lockdown: Option<Lockdown>, log: ProcessLog) {
    let parent = rustix::process::getpid();
    let prepare = move || -> io::Result<()> {
        die_with(parent)?;
        for fd in &passed {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        log.record_self()?;
        if let Some(lockdown) = &lockdown {
            lockdown.enter()?;
            // The kernel forgets the signal when the user changes (prctl(2)).
            die_with(parent)?;
        }
        Ok(())
    };
    // SAFETY: the closure runs in the forked child, where only async-signal-safe work is allowed. It makes direct
    // system calls (prctl, getppid, fcntl, open, read, write, close; to lock down setgroups, setresgid, setresuid,
    // capset, landlock_restrict_self) on values prepared before the fork, works on stack buffers, allocates nothing,
    // takes no lock, and does not panic.
    unsafe { command.pre_exec(prepare) };
}

/// Has the kernel end the calling process when its parent ends.
fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The parent may have died before the line above; then nobody sends the signal.
    if rustix::process::getppid() != Some(parent) {
        return Err(rustix::io::Errno::SRCH.into());
    }
    Ok(())
}

fn input(stream: Stream) -> Result<Stdio, (PathBuf, io::Error)> {
    stdio(stream, |path| File::open(path))
}

fn output(stream: Stream) -> Result<Stdio, (PathBuf, io::Error)> {
    stdio(stream, |path| OpenOptions::new().append(true).create(true).mode(0o600).open(path))
}

fn stdio(stream: Stream, open: impl Fn(&Path) -> io::Result<File>) -> Result<Stdio, (PathBuf, io::Error)> {
    match stream {
        Stream::Fd(fd) => Ok(fd.into()),
        Stream::File(path) => open(&path).map(Stdio::from).map_err(|error| (path, error)),
        Stream::Null => Ok(Stdio::null()),
    }
}
