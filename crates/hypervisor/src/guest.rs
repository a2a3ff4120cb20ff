//! What can be asked of a guest.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use virtmark_model::Timeline;

use crate::{Cancel, Identity, Result};

/// The way into a guest: commands, files, facts, clock. Requests may run at the same time.
pub trait GuestLink: Send + Sync {
    /// Starts a command; its output arrives through the handle while it runs.
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>>;

    /// Copies `size` bytes from `source` into the guest file `path`, with these permission bits. The content is
    /// checksummed on the way; the file appears whole or not at all.
    fn put(&self, source: &mut dyn Read, size: u64, path: &str, mode: u32) -> Result<()>;

    /// Copies the guest file `path` into `target`, checksummed. Gives its permission bits.
    fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32>;

    /// What the guest says of itself.
    fn facts(&self) -> Result<GuestFacts>;

    /// The guest's clocks, now. Never subtracted from a clock of the host.
    fn clock(&self) -> Result<GuestClock>;

    /// Makes a guest that goes on from somebody else's state its own: its wall clock, its random numbers, its name.
    /// Refused by a guest whose agent is not its process 1, and with it by the bare host.
    fn personalize(&self, identity: &Identity) -> Result<()>;

    /// Asks the guest to power off; returns when it has agreed, not when it is off.
    fn shutdown(&self) -> Result<()>;

    /// Runs a command to its end and collects its output, each stream up to `command.output_limit_bytes`.
    fn exec(&self, command: &Command) -> Result<ExecOutput> {
        let mut handle = self.spawn(command)?;
        let mut output = ExecOutput::default();
        while let Some(chunk) = handle.next_output()? {
            let (kept, total_bytes) = match chunk.stream {
                OutputStream::Stdout => (&mut output.stdout, &mut output.stdout_bytes),
                OutputStream::Stderr => (&mut output.stderr, &mut output.stderr_bytes),
            };
            *total_bytes += chunk.data.len() as u64;
            let room = command.output_limit_bytes.saturating_sub(kept.len());
            kept.extend_from_slice(&chunk.data[..chunk.data.len().min(room)]);
        }
        (output.status, output.resource_use) = handle.wait()?;
        Ok(output)
    }
}

/// A command that runs in a guest.
pub trait ExecHandle: Send {
    /// The next piece of output; `None` when both streams have ended.
    fn next_output(&mut self) -> Result<Option<OutputChunk>>;

    /// Waits for the end of the command. Output not yet taken is discarded.
    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)>;

    /// Kills the command's process group.
    fn kill(&mut self) -> Result<()>;
}

/// A command to run in a guest.
#[derive(Clone, Debug)]
pub struct Command {
    /// What runs.
    pub program: Program,
    /// Environment variables, beside those the agent gives (`PATH`, `HOME`).
    pub env: BTreeMap<String, String>,
    /// Working directory; the agent's own when absent.
    pub cwd: Option<String>,
    /// Standard input, whole.
    pub stdin: Vec<u8>,
    /// When it passes, the whole process group is killed and the status is [`ExecStatus::TimedOut`].
    pub timeout: Option<Duration>,
    /// How much of each stream [`GuestLink::exec`] keeps; the rest is counted and dropped.
    pub output_limit_bytes: usize,
    /// Gives the command up: it is killed, and whoever waits for it gets [`Error::Cancelled`](crate::Error::Cancelled)
    /// at once, however its guest is. A platform that has no way to, such as another's service, runs it to its end.
    pub cancel: Option<Cancel>,
}

impl Command {
    /// A line for the guest's shell.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::of(Program::Shell(line.into()))
    }

    /// A program with its arguments, looked up in the guest's `PATH`.
    pub fn argv<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::of(Program::Argv(argv.into_iter().map(Into::into).collect()))
    }

    fn of(program: Program) -> Self {
        Self {
            program,
            env: BTreeMap::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: None,
            output_limit_bytes: 16 << 20,
            cancel: None,
        }
    }
}

/// What a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

/// Which stream a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a command's output, as it came.
#[derive(Clone, Debug)]
pub struct OutputChunk {
    /// Where it came from.
    pub stream: OutputStream,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A command's whole run.
#[derive(Clone, Debug, Default)]
pub struct ExecOutput {
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Bytes written to standard output in all.
    pub stdout_bytes: u64,
    /// Bytes written to standard error in all.
    pub stderr_bytes: u64,
    /// How it ended.
    pub status: ExecStatus,
    /// What it used, as the guest kernel counted.
    pub resource_use: ResourceUse,
    /// The parts of the time that this took, where the platform tells them apart.
    pub timeline: Timeline,
}

impl ExecOutput {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.status == ExecStatus::Exited(0)
    }
}

/// How a command ended. A command that was not found exits with 127, as in a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecStatus {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// Its time limit passed, and its process group was killed.
    TimedOut,
}

impl Default for ExecStatus {
    fn default() -> Self {
        Self::Exited(0)
    }
}

/// What a command used, as the guest kernel counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceUse {
    /// CPU time in user mode.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// Largest resident set.
    pub max_rss_bytes: u64,
    /// Voluntary and involuntary context switches.
    pub context_switches: u64,
}

/// What a guest says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFacts {
    /// Version of the agent program.
    pub agent_version: String,
    /// Version of the protocol that the agent speaks.
    pub protocol_version: u16,
    /// Kernel release, as in `uname -r`.
    pub kernel: String,
    /// Guest nanoseconds from the guest's boot to the start of the agent.
    pub init_started_ns: u64,
    /// Guest nanoseconds from the guest's boot to the agent's readiness.
    pub ready_ns: u64,
    /// Whether the agent is the guest's process 1.
    pub is_init: bool,
}

/// A guest's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestClock {
    /// Since an arbitrary moment, not counting suspension.
    pub monotonic_ns: u64,
    /// Since the guest's boot.
    pub boottime_ns: u64,
    /// Since 1970-01-01 UTC.
    pub realtime_ns: u64,
}
