//! Commands in the guest, as the host sees them.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_protocol::{CHUNK_BYTES, Exec, Request, STDIN_WINDOW_BYTES};

use super::asked::Asked;
use super::pending::{Answer, Pending};
use super::shared::Shared;
use crate::{
    Cancel, Command, Error, ExecHandle, ExecStatus, Hearing, OutputChunk, Program, ResourceUse, Result,
};

/// How much output may be on its way and not yet taken by whoever holds the handle.
const WINDOW_BYTES: u32 = 1 << 20;

/// How long the news of a command's end may take after its time limit.
const TIMEOUT_GRACE: Duration = Duration::from_secs(10);

/// Sends a command; the guest has not necessarily started it when this returns.
pub(super) fn start(shared: &Arc<Shared>, command: &Command) -> Result<RunningCommand> {
    let (stdin, rest) = command.stdin.split_at(command.stdin.len().min(CHUNK_BYTES));
    let exec = Exec {
        program: match &command.program {
            Program::Argv(argv) => {
                virtmark_protocol::Program::Argv(argv.iter().map(String::as_str).collect())
            }
            Program::Shell(line) => virtmark_protocol::Program::Shell(line),
        },
        env: command.env.iter().map(|(name, value)| (&**name, &**value)).collect(),
        cwd: command.cwd.as_deref(),
        stdin,
        stdin_follows: !rest.is_empty(),
        timeout_ns: command.timeout.map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
        window_bytes: WINDOW_BYTES,
    };
    let asked = Asked::exec(command);
    if command.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
        return Err(cancelled(shared, &asked));
    }
    let mut pending = Pending::open(shared, asked)?;
    shared.grant(pending.request, WINDOW_BYTES);
    let credit = shared.register_stdin(pending.request);
    let cancel = command.cancel.clone().map(|cancel| {
        let (shared, request) = (shared.clone(), pending.request);
        let hearing = cancel.on_cancel(move || shared.forget(request));
        (cancel, hearing)
    });
    pending.send(&Request::Exec(exec))?;
    if !rest.is_empty() {
        let (shared, request, rest) = (shared.clone(), pending.request, rest.to_vec());
        let window_bytes = STDIN_WINDOW_BYTES - stdin.len();
        thread::Builder::new()
            .name("virtmark-stdin".into())
            .spawn(move || send_stdin(&shared, request, &rest, window_bytes, &credit))
            .map_err(Error::io("start a thread for the standard input of a command"))?;
    }
    Ok(RunningCommand {
        pending,
        deadline: command
            .timeout
            .and_then(|limit| Instant::now().checked_add(limit.saturating_add(TIMEOUT_GRACE))),
        limit: command.timeout,
        taken_bytes: 0,
        output_ended: false,
        ended: None,
        cancel,
    })
}

/// Sends what did not fit beside the command, as fast as the command takes it; ends with the request.
fn send_stdin(
    shared: &Shared,
    request: u32,
    mut rest: &[u8],
    mut window_bytes: usize,
    credit: &Receiver<u32>,
) {
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(window_bytes).min(CHUNK_BYTES));
        if !piece.is_empty() && shared.send(request, &Request::Stdin(piece)).is_err() {
            return;
        }
        rest = later;
        window_bytes -= piece.len();
        if window_bytes == 0 && !rest.is_empty() {
            let Ok(bytes) = credit.recv() else { return };
            window_bytes += bytes as usize;
        }
        window_bytes += credit.try_iter().map(|bytes| bytes as usize).sum::<usize>();
    }
    // The command gets no end of its input when the link is lost, and is killed for that.
    let _ = shared.send(request, &Request::StdinEnd);
}

fn cancelled(shared: &Shared, asked: &Asked) -> Error {
    Error::Cancelled { machine: shared.machine.clone(), request: asked.noun.clone() }
}

/// A command that was sent to the guest. Dropping it kills the command if it still runs.
pub(super) struct RunningCommand {
    pending: Pending,
    /// When even the news of the time limit is overdue.
    deadline: Option<Instant>,
    limit: Option<Duration>,
    /// Output taken since the agent was last told.
    taken_bytes: u32,
    output_ended: bool,
    ended: Option<(ExecStatus, ResourceUse)>,
    /// Wakes whoever waits here, by taking away what could be waited for.
    cancel: Option<(Cancel, Hearing)>,
}

impl RunningCommand {
    /// Takes the next answer; gives it if it is output.
    fn take(&mut self) -> Result<Option<OutputChunk>> {
        let timeout = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if self.is_cancelled() {
            return Err(cancelled(&self.pending.shared, &self.pending.asked));
        }
        let answer = self.pending.next(timeout).map_err(|error| match error {
            _ if self.is_cancelled() => cancelled(&self.pending.shared, &self.pending.asked),
            Error::Timeout { machine, request, console, .. } => {
                Error::Timeout { machine, request, timeout: self.limit.unwrap_or_default(), console }
            }
            error => error,
        })?;
        match answer {
            Answer::Output(chunk) => {
                // A chunk is far smaller than 4 GiB.
                self.taken_bytes += chunk.data.len() as u32;
                if self.taken_bytes >= WINDOW_BYTES / 2 {
                    self.pending.grant(std::mem::take(&mut self.taken_bytes))?;
                }
                return Ok(Some(chunk));
            }
            Answer::OutputEnd => self.output_ended = true,
            Answer::Exited(status, resource_use) => self.ended = Some((status, resource_use)),
            other => return Err(self.pending.shared.lost(&self.pending.asked, other.unexpected())),
        }
        if self.output_ended && self.ended.is_some() {
            self.pending.finish();
        }
        Ok(None)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(|(cancel, _)| cancel.is_cancelled())
    }
}

impl ExecHandle for RunningCommand {
    fn next_output(&mut self) -> Result<Option<OutputChunk>> {
        while !self.output_ended {
            if let Some(chunk) = self.take()? {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    fn wait(&mut self) -> Result<(ExecStatus, ResourceUse)> {
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            self.take()?;
        }
    }

    fn kill(&mut self) -> Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        self.pending.send(&Request::Kill)
    }
}
