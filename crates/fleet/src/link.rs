//! Machines through their agent: no network, no SSH server, the same results.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use virtmark_hypervisor::{Command, Error as PlatformError, ExecStatus, GuestLink, OutputStream};

use crate::map::Machine;
use crate::script;
use crate::transport::{End, Kept, Output, Session, Stream, Transport, upload_late, upload_stopped};
use crate::{Failure, FailureKind, Limit, Source, far};

/// The permission bits of the payload file on the machine.
const MODE: u32 = 0o600;

/// The way to machines whose agent is in hand, by their names.
#[derive(Clone, Default)]
pub struct AgentTransport {
    links: BTreeMap<String, Arc<dyn GuestLink>>,
}

impl AgentTransport {
    /// One that reaches these machines.
    pub fn new(links: impl IntoIterator<Item = (String, Arc<dyn GuestLink>)>) -> Self {
        Self { links: links.into_iter().collect() }
    }
}

impl Transport for AgentTransport {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn open(&self, machine: &Machine, _answer: &Limit, _limit: &Limit) -> Result<Box<dyn Session>, Failure> {
        let link = self.links.get(&machine.name).ok_or_else(|| {
            let message =
                format!("there is no link to the agent of {}; start the machine first", machine.name);
            Failure::new(FailureKind::Other, message)
        })?;
        Ok(Box::new(AgentSession { link: Arc::clone(link) }))
    }
}

struct AgentSession {
    link: Arc<dyn GuestLink>,
}

impl Session for AgentSession {
    fn put(&mut self, source: &Source, path: &str, limit: &Limit) -> Result<(), Failure> {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut kept = Kept::default();
        let made = self.exec(&format!("mkdir -p {}/", script::quote(directory)), limit, &mut kept);
        match made.map_err(|failure| over(limit).unwrap_or(failure))? {
            End::Exited(0) => {}
            End::TimedOut => return Err(upload_late()),
            other => {
                let words = kept.last_words().unwrap_or_else(|| format!("it ended with {other:?}"));
                return Err(far::explain(FailureKind::Other, "make the root on the machine", &words));
            }
        }
        let unreadable = |error| {
            let message = format!("cannot read {}: {error}", source.path.display());
            Failure::new(FailureKind::LocalIo, message)
        };
        let file = File::open(&source.path).map_err(unreadable)?;
        // The link compares checksums itself, and the file is there whole or not at all.
        self.link
            .put(&mut Limited { file, limit }, source.bytes, path, MODE)
            .map_err(|error| over(limit).unwrap_or_else(|| failure("upload the payload", &error)))
    }

    fn exec(&mut self, script: &str, limit: &Limit, output: &mut dyn Output) -> Result<End, Failure> {
        let mut command = Command::argv(["/bin/sh", "-c", script]);
        command.timeout = limit.left();
        command.cancel = Some(limit.cancel.clone());
        let attempted = "run a script on the machine";
        let told = |error: &PlatformError| failure(attempted, error);
        let mut handle = self.link.spawn(&command).map_err(|error| told(&error))?;
        while let Some(chunk) = handle.next_output().map_err(|error| told(&error))? {
            let stream = match chunk.stream {
                OutputStream::Stderr => Stream::Stderr,
                OutputStream::Stdout => Stream::Stdout,
            };
            if let Err(error) = output.take(stream, &chunk.data) {
                // Nobody can keep what it prints.
                let _ = handle.kill();
                return Err(far::local(&error));
            }
        }
        let (status, _) = handle.wait().map_err(|error| told(&error))?;
        Ok(match status {
            ExecStatus::Exited(code) => End::Exited(code),
            ExecStatus::Signaled(signal) => End::Signaled(signal.to_string()),
            ExecStatus::TimedOut => End::TimedOut,
        })
    }
}

/// A file that cannot be read any more when the limit is reached: a link knows none of its own.
struct Limited<'a> {
    file: File,
    limit: &'a Limit,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match over(self.limit) {
            // Not as an interrupted call, which would be made again.
            Some(failure) => Err(io::Error::other(failure)),
            None => self.file.read(buffer),
        }
    }
}

/// Why an upload does not go on.
fn over(limit: &Limit) -> Option<Failure> {
    if limit.cancel.is_cancelled() {
        return Some(upload_stopped());
    }
    limit.passed().then(upload_late)
}

fn failure(attempted: &str, error: &PlatformError) -> Failure {
    match error {
        PlatformError::AgentLost { .. }
        | PlatformError::GuestPanic { .. }
        | PlatformError::VmmExited { .. } => Failure::new(FailureKind::Lost, first_line(error)),
        PlatformError::Cancelled { .. } => Failure::new(FailureKind::Interrupted, "stopped before its end"),
        PlatformError::GuestSilent { .. } => Failure::new(FailureKind::Unreachable, first_line(error)),
        other => far::explain(FailureKind::Other, attempted, &first_line(other)),
    }
}

/// Without the console that may follow.
fn first_line(error: &PlatformError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
