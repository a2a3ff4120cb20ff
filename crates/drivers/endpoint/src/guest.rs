//! The way into a guest, through the service.

mod command;
mod files;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use virtmark_hypervisor::{
    Command, Error, ExecHandle, ExecOutput, ExecStatus, GuestClock, GuestFacts, GuestLink, Identity,
    OutputChunk, OutputStream, ResourceUse, Result,
};

use crate::machine::Sandbox;
use crate::mapping::answer::{Encoding, Pointer};
use crate::service::{Answer, Service, Task};
use crate::start::nanoseconds;
use crate::times::{Reported, timeline};

/// What a request may take beyond the limit of its command: the service has to end that, and to say so.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// How much of a replayed output comes at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The guest of one machine.
pub(crate) struct EndpointGuest {
    pub(crate) service: Arc<Service>,
    pub(crate) sandbox: Arc<Sandbox>,
}

impl GuestLink for EndpointGuest {
    /// Runs the command to its end, then gives its output: the service answers no earlier. It can neither be killed nor
    /// given up meanwhile.
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>> {
        let whole = Command { output_limit_bytes: usize::MAX, ..command.clone() };
        let output = self.exec(&whole)?;
        Ok(Box::new(Replay { stdout: output.stdout, stderr: output.stderr, at: 0, status: output.status }))
    }

    /// The content's integrity is TCP's, or that of TLS: HTTP has no checksum of its own.
    fn put(&self, source: &mut dyn Read, size: u64, path: &str, mode: u32) -> Result<()> {
        files::put(self, source, size, path, mode)
    }

    /// The permission bits come from a `stat` in the guest, since the service does not say them.
    fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32> {
        files::get(self, path, target)
    }

    fn facts(&self) -> Result<GuestFacts> {
        Err(self.cannot("say what it is"))
    }

    fn clock(&self) -> Result<GuestClock> {
        Err(self.cannot("tell its clocks"))
    }

    fn personalize(&self, _identity: &Identity) -> Result<()> {
        Err(self.cannot("take an identity; the service gives its machines theirs"))
    }

    fn shutdown(&self) -> Result<()> {
        Err(self.cannot("shut down; the service destroys machines, and does not stop them"))
    }

    /// The timeline has `http` and `exec`, or `exec` alone when the service says nothing of its time. What a service does
    /// not say stays at zero: what the command used, and the bytes of a stream that the mapping does not have.
    fn exec(&self, command: &Command) -> Result<ExecOutput> {
        let started = Instant::now();
        let operation = &self.service.mapping.exec;
        let values = command::values(&self.sandbox, &operation.request, command)?;
        let timeout =
            command.timeout.map_or(self.service.timeout, |limit| limit.saturating_add(ANSWER_GRACE));
        let answer = self.service.json(&Task {
            request: &operation.request,
            values: &values,
            action: format!("run a command in {}", self.sandbox.told()),
            machine: &self.sandbox.machine,
            timeout,
            repeatable: false,
            leftover: Some("the command may have run all the same"),
        })?;
        let fields = &operation.answer;
        let stdout = stream(&answer, &fields.stdout, fields.encoding)?;
        let stderr = match &fields.stderr {
            Some(at) => stream(&answer, at, fields.encoding)?,
            None => Vec::new(),
        };
        let count = |at: &Option<Pointer>, kept: &[u8]| {
            at.as_ref().and_then(|at| at.find(&answer.value)?.as_u64()).unwrap_or(kept.len() as u64)
        };
        let timed_out = fields.timed_out.as_ref().and_then(|at| at.find(&answer.value)?.as_bool());
        let status = match timed_out {
            Some(true) => ExecStatus::TimedOut,
            _ => ExecStatus::Exited(
                fields
                    .exit_code
                    .find(&answer.value)
                    .and_then(Value::as_i64)
                    .and_then(|code| i32::try_from(code).ok())
                    .ok_or_else(|| answer.without(&fields.exit_code, "an exit status"))?,
            ),
        };
        let mut output = ExecOutput {
            stdout_bytes: count(&fields.stdout_bytes, &stdout),
            stderr_bytes: count(&fields.stderr_bytes, &stderr),
            stdout,
            stderr,
            status,
            ..ExecOutput::default()
        };
        output.stdout.truncate(command.output_limit_bytes);
        output.stderr.truncate(command.output_limit_bytes);
        let duration_ns = fields.duration.as_ref().and_then(|duration| duration.ns(&answer.value));
        let reported = Reported { duration_ns, phases: Vec::new() };
        let (timeline, note) = timeline(nanoseconds(started.elapsed()), reported, "exec");
        if let Some(note) = note {
            self.service.notes.add(note);
        }
        output.timeline = timeline;
        Ok(output)
    }
}

impl EndpointGuest {
    /// The service's API has no request for it.
    fn cannot(&self, what: &str) -> Error {
        self.refused(what, "the service has no request for it")
    }

    fn refused(&self, request: &str, reason: impl Into<String>) -> Error {
        Error::AgentRefused {
            machine: self.sandbox.machine.clone(),
            request: request.into(),
            reason: reason.into(),
        }
    }
}

/// The bytes of one stream; an answer without it, or with `null`, has an empty one.
fn stream(answer: &Answer, at: &Pointer, encoding: Encoding) -> Result<Vec<u8>> {
    match at.find(&answer.value) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => {
            decoded(text, encoding).ok_or_else(|| answer.without(at, "text in base64"))
        }
        Some(_) => Err(answer.without(at, "a text")),
    }
}

pub(crate) fn decoded(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).ok(),
        Encoding::Text => Some(text.as_bytes().to_vec()),
    }
}

/// A command that has ended, as if it ran.
struct Replay {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Bytes given already, of both streams in this order.
    at: usize,
    status: ExecStatus,
}

impl ExecHandle for Replay {
    fn next_output(&mut self) -> Result<Option<OutputChunk>> {
        let (stream, bytes, from) = match self.at.checked_sub(self.stdout.len()) {
            None => (OutputStream::Stdout, &self.stdout, self.at),
            Some(from) => (OutputStream::Stderr, &self.stderr, from),
        };
        let data = bytes[from..bytes.len().min(from + CHUNK_BYTES)].to_vec();
        self.at += data.len();
        Ok((!data.is_empty()).then_some(OutputChunk { stream, data }))
    }

    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)> {
        self.at = self.stdout.len() + self.stderr.len();
        Ok((self.status, ResourceUse::default()))
    }

    /// It has ended already.
    fn kill(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_gives_every_byte_once() {
        for (out, err) in [(0, 0), (1, 0), (0, 1), (CHUNK_BYTES, 3), (2 * CHUNK_BYTES + 1, CHUNK_BYTES)] {
            let (stdout, stderr) = (vec![b'o'; out], vec![b'e'; err]);
            let mut replay = Replay { stdout, stderr, at: 0, status: ExecStatus::Exited(3) };
            let mut counted = (0, 0);
            while let Ok(Some(chunk)) = replay.next_output() {
                match chunk.stream {
                    OutputStream::Stdout => counted.0 += chunk.data.len(),
                    OutputStream::Stderr => counted.1 += chunk.data.len(),
                }
            }
            assert_eq!(counted, (out, err));
            assert_eq!(replay.wait().map(|(status, _)| status).ok(), Some(ExecStatus::Exited(3)));
        }
    }
}
