//! The way to a machine, whatever it is.

use std::io;

use crate::map::Machine;
use crate::{Failure, FailureKind, Limit, Source};

/// A way to machines.
pub trait Transport: Send + Sync {
    /// What it is called in results: `ssh`, `agent`.
    fn name(&self) -> &'static str;

    /// Logs in, once. Until `answer` the machine has to say something: what forwards a port may take connections for one that
    /// is not there. Whether to try again is decided elsewhere, by the kind of the failure.
    fn open(&self, machine: &Machine, answer: &Limit, limit: &Limit) -> Result<Box<dyn Session>, Failure>;
}

/// A machine that was logged in to. Dropping it ends what still runs through it.
pub trait Session: Send {
    /// Copies a file to `path` and compares checksums afterwards. The far directory exists or is made. What arrived
    /// wrong or in part is removed.
    fn put(&mut self, source: &Source, path: &str, limit: &Limit) -> Result<(), Failure>;

    /// Runs a script of the POSIX shell on the machine and hands its output on as it comes, with no input. At the
    /// deadline its whole process group is killed, which is an end like others; when the user stops it is killed too,
    /// and that is a failure.
    fn exec(&mut self, script: &str, limit: &Limit, output: &mut dyn Output) -> Result<End, Failure>;
}

/// An upload that the user does not want any more.
pub(crate) fn upload_stopped() -> Failure {
    Failure::new(FailureKind::Interrupted, "stopped during the upload")
}

/// An upload whose time is over.
pub(crate) fn upload_late() -> Failure {
    Failure::new(FailureKind::TimedOut, "the upload did not end in time; give it longer")
}

/// Takes what a script prints.
pub trait Output: Send {
    /// The next bytes of a stream. An error ends the script.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()>;
}

/// Where output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it: `KILL`.
    Signaled(String),
    /// The deadline passed, and it was killed.
    TimedOut,
}

/// Keeps the first bytes of both streams, for what prints little.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// The last lines of GNU tar: the cause is in a line before.
const FAREWELLS: [&str; 3] = [
    "Exiting with failure status due to previous errors",
    "Error is not recoverable: exiting now",
    "Child returned status 1",
];

/// More than any tool says that has something to say.
const KEPT_BYTES: usize = 16 << 10;

impl Output for Kept {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let kept = match stream {
            Stream::Stderr => &mut self.stderr,
            Stream::Stdout => &mut self.stdout,
        };
        let room = KEPT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }
}

impl Kept {
    /// The last line of standard error that says something, as it may be shown. How tar takes its leave does not.
    pub(crate) fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stderr);
        let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let last = lines.next()?;
        let is_farewell = |line: &str| FAREWELLS.iter().any(|farewell| line.ends_with(farewell));
        let telling = if is_farewell(last) { lines.find(|line| !is_farewell(line)) } else { None };
        Some(plain(telling.unwrap_or(last)))
    }
}

/// Text of others as it may be shown on a terminal, at most 300 characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(300).collect()
}
