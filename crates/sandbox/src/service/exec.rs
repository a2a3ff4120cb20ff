//! Commands in sandboxes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Cancel, Command, Error as PlatformError, ExecStatus, OutputStream};

use super::Core;
use crate::api::{Encoding, ExecAnswer, ExecEnd, ExecRequest, StreamData, StreamEvent};
use crate::encode::{self, Pieces};
use crate::gate::Work;
use crate::gone::Gone;
use crate::sandbox::{Sandbox, gone};
use crate::{Error, Result};

/// What a shell gives for a command that its time limit ended (timeout(1)).
const TIMED_OUT: i32 = 124;
/// What a shell adds to the number of the signal that killed a command.
const SIGNALED: i32 = 128;

impl Core {
    pub(super) fn exec(&self, request: ExecRequest, cancel: &Cancel) -> Result<ExecAnswer> {
        let started = Instant::now();
        let _pass = self.gate.enter(Work::Use)?;
        let sandbox = self.sandbox(&request.sandbox_id)?;
        let _running = sandbox.begin_exec(self.options.max_execs, cancel)?;
        let (command, encoding) = self.command(&sandbox, request, cancel)?;
        let output = sandbox.link.exec(&command).map_err(|error| self.failed(&sandbox, error))?;
        let (exit_code, timed_out) = exit(output.status);
        let (stdout_kept, stderr_kept) = (output.stdout.len() as u64, output.stderr.len() as u64);
        let mut answer = ExecAnswer {
            stdout: encode::whole(output.stdout, encoding),
            stderr: encode::whole(output.stderr, encoding),
            exit_code,
            duration_ns: 0,
            timed_out,
            stdout_bytes: output.stdout_bytes,
            stderr_bytes: output.stderr_bytes,
            stdout_truncated: stdout_kept < output.stdout_bytes,
            stderr_truncated: stderr_kept < output.stderr_bytes,
        };
        answer.duration_ns = nanoseconds(started.elapsed());
        self.counters.executed(sandbox.created.start, answer.duration_ns);
        Ok(answer)
    }

    pub(super) fn exec_stream(
        &self,
        request: ExecRequest,
        cancel: &Cancel,
        event: &mut dyn FnMut(StreamEvent) -> ControlFlow<()>,
    ) -> Result<ExecEnd> {
        let started = Instant::now();
        let _pass = self.gate.enter(Work::Use)?;
        let sandbox = self.sandbox(&request.sandbox_id)?;
        let _running = sandbox.begin_exec(self.options.max_execs, cancel)?;
        let (command, encoding) = self.command(&sandbox, request, cancel)?;
        let failed = |error| self.failed(&sandbox, error);
        let mut handle = sandbox.link.spawn(&command).map_err(failed)?;
        let (mut stdout, mut stderr) = (Pieces::new(encoding), Pieces::new(encoding));
        let mut send = |stream, data: String| match (stream, StreamData { data }) {
            (_, data) if data.data.is_empty() => ControlFlow::Continue(()),
            (OutputStream::Stdout, data) => event(StreamEvent::Stdout(data)),
            (OutputStream::Stderr, data) => event(StreamEvent::Stderr(data)),
        };
        while let Some(chunk) = handle.next_output().map_err(failed)? {
            let pieces = match chunk.stream {
                OutputStream::Stdout => &mut stdout,
                OutputStream::Stderr => &mut stderr,
            };
            if send(chunk.stream, pieces.next(chunk.data)).is_break() {
                // Dropping the handle kills it too; a failure here is that of a link which is gone with its guest.
                let _ = handle.kill();
                let reason = "it takes no more output".into();
                return Err(Error::ClientGone { request: "a command".into(), reason });
            }
        }
        let (status, _) = handle.wait().map_err(failed)?;
        // The command has ended: whether or not the client is still there changes nothing any more.
        let _ = send(OutputStream::Stdout, stdout.last());
        let _ = send(OutputStream::Stderr, stderr.last());
        let (exit_code, timed_out) = exit(status);
        let duration_ns = nanoseconds(started.elapsed());
        self.counters.executed(sandbox.created.start, duration_ns);
        Ok(ExecEnd { exit_code, duration_ns, timed_out })
    }

    fn command(
        &self,
        sandbox: &Sandbox,
        request: ExecRequest,
        cancel: &Cancel,
    ) -> Result<(Command, Encoding)> {
        let ExecRequest { cmd, timeout_ms, stdin, env, encoding, .. } = request;
        let most = self.options.max_exec_timeout;
        let timeout = match timeout_ms.map(Duration::from_millis) {
            None => self.options.exec_timeout.min(most),
            Some(timeout) if !timeout.is_zero() && timeout <= most => timeout,
            Some(timeout) => {
                return Err(Error::InvalidRequest(format!(
                    "timeout_ms is {}; 1 to {} ms are possible",
                    timeout.as_millis(),
                    most.as_millis()
                )));
            }
        };
        let stdin = stdin.unwrap_or_default();
        if stdin.len() > self.options.max_request_bytes {
            let limit_bytes = self.options.max_request_bytes as u64;
            return Err(Error::PayloadTooLarge { what: "stdin".into(), limit_bytes });
        }
        let command = Command {
            env: sandbox.env.overlaid(&env),
            stdin: stdin.into_bytes(),
            timeout: Some(timeout),
            output_limit_bytes: self.options.max_output_bytes,
            cancel: Some(cancel.clone()),
            ..Command::shell(String::from(cmd))
        };
        Ok((command, encoding.unwrap_or_default()))
    }

    /// What a failure of the link means for its sandbox. A sandbox that can never be reached again is ended.
    pub(super) fn failed(&self, sandbox: &std::sync::Arc<Sandbox>, error: PlatformError) -> Error {
        if let Some(end) = sandbox.end() {
            return gone(sandbox.id(), &end);
        }
        if let PlatformError::Cancelled { request, .. } = error {
            return Error::ClientGone { request, reason: "it did not wait for the end".into() };
        }
        let explained = match &*sandbox.holdings() {
            Some(holdings) => holdings.machine.explain(error),
            // Destroyed since; its end is on record.
            None => error,
        };
        if let Some(end) = sandbox.end() {
            return gone(sandbox.id(), &end);
        }
        let (class, message) = (explained.class(), explained.to_string());
        match explained {
            PlatformError::AgentRefused { .. } => Error::GuestRefused { message },
            PlatformError::Timeout { .. } | PlatformError::GuestSilent { .. } => {
                Error::GuestTimeout { class, message }
            }
            PlatformError::Io { .. } => Error::Internal { action: "reach the guest".into(), reason: message },
            _ => {
                self.end(sandbox, Gone::Failed { class, message: message.clone() });
                Error::SandboxFailed { sandbox: sandbox.id().clone(), class, message }
            }
        }
    }
}

/// As a shell tells it; and whether the time limit passed.
fn exit(status: ExecStatus) -> (i32, bool) {
    match status {
        ExecStatus::Exited(code) => (code, false),
        // Whoever has the guest may say any number.
        ExecStatus::Signaled(signal) => (SIGNALED.saturating_add(signal), false),
        ExecStatus::TimedOut => (TIMED_OUT, true),
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_that_of_a_shell_whatever_the_guest_says() {
        assert_eq!(exit(ExecStatus::Exited(3)), (3, false));
        assert_eq!(exit(ExecStatus::Signaled(9)), (137, false));
        assert_eq!(exit(ExecStatus::TimedOut), (124, true));
        assert_eq!(exit(ExecStatus::Signaled(i32::MAX)), (i32::MAX, false));
        assert_eq!(exit(ExecStatus::Signaled(i32::MIN)), (i32::MIN + 128, false));
    }
}
