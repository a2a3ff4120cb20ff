//! One request on its way.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use virtmark_protocol::{Reply, Request, Status};

use super::asked::Asked;
use super::shared::Shared;
use crate::{Error, ExecStatus, GuestClock, OutputChunk, OutputStream, ResourceUse, Result};

/// What the agent answered to one request.
#[derive(Debug)]
pub(super) enum Answer {
    Clock(GuestClock),
    ClockSet,
    Error(String),
    Exited(ExecStatus, ResourceUse),
    GetData(Vec<u8>),
    GetEnd { checksum: u32 },
    GetStart { mode: u32 },
    Output(OutputChunk),
    OutputEnd,
    Personalized,
    PutDone,
    ShuttingDown,
}

impl Answer {
    /// The answer in a reply that belongs to a request; `None` for the others.
    pub(super) fn of(reply: Reply<'_>) -> Option<Self> {
        let output = |stream, data: &[u8]| Some(Self::Output(OutputChunk { stream, data: data.to_vec() }));
        match reply {
            Reply::Ready | Reply::Hello(_) | Reply::StdinCredit(_) => None,
            Reply::Stdout(data) => output(OutputStream::Stdout, data),
            Reply::Stderr(data) => output(OutputStream::Stderr, data),
            Reply::OutputEnd => Some(Self::OutputEnd),
            Reply::Exited { status, resource_use } => {
                let status = match status {
                    Status::Exited(code) => ExecStatus::Exited(code),
                    Status::Signaled(signal) => ExecStatus::Signaled(signal),
                    Status::TimedOut => ExecStatus::TimedOut,
                };
                let resource_use = ResourceUse {
                    user_ns: resource_use.user_ns,
                    system_ns: resource_use.system_ns,
                    max_rss_bytes: resource_use.max_rss_bytes,
                    context_switches: resource_use.context_switches,
                };
                Some(Self::Exited(status, resource_use))
            }
            Reply::PutDone => Some(Self::PutDone),
            Reply::GetStart { mode, size_bytes: _ } => Some(Self::GetStart { mode }),
            Reply::GetData(data) => Some(Self::GetData(data.to_vec())),
            Reply::GetEnd { crc32c } => Some(Self::GetEnd { checksum: crc32c }),
            Reply::Clock(clocks) => Some(Self::Clock(GuestClock {
                monotonic_ns: clocks.monotonic_ns,
                boottime_ns: clocks.boottime_ns,
                realtime_ns: clocks.realtime_ns,
            })),
            Reply::ShuttingDown => Some(Self::ShuttingDown),
            Reply::Error { kind: _, message } => Some(Self::Error(message.into())),
            Reply::Personalized => Some(Self::Personalized),
            Reply::ClockSet => Some(Self::ClockSet),
        }
    }

    /// Why an answer that does not belong there is a failure.
    pub(super) fn unexpected(&self) -> String {
        let name = match self {
            Self::Clock(_) => "its clocks",
            Self::ClockSet => "that its clock is set",
            Self::Error(_) => "an error",
            Self::Exited(..) => "a command's end",
            Self::GetData(_) | Self::GetEnd { .. } | Self::GetStart { .. } => "a file",
            Self::Output(_) | Self::OutputEnd => "a command's output",
            Self::Personalized => "that it is its own",
            Self::PutDone => "that a file is in place",
            Self::ShuttingDown => "that it powers off",
        };
        format!("it answered with {name}")
    }
}

/// A request that has not ended. Dropping it tells the agent that nobody waits for it any more.
pub(super) struct Pending {
    pub(super) shared: Arc<Shared>,
    pub(super) asked: Asked,
    pub(super) request: u32,
    answers: Receiver<Answer>,
    finished: bool,
}

impl Pending {
    /// Makes room for the answers to a request that will be sent.
    pub(super) fn open(shared: &Arc<Shared>, asked: Asked) -> Result<Self> {
        match shared.register() {
            Ok((request, answers)) => {
                Ok(Self { shared: shared.clone(), asked, request, answers, finished: false })
            }
            Err(reason) => Err(shared.lost(&asked, reason)),
        }
    }

    /// Sends a message of this request.
    pub(super) fn send(&mut self, message: &Request<'_>) -> Result<()> {
        self.shared
            .send(self.request, message)
            .map_err(|failure| failure.into_error(&self.shared, &self.asked))
    }

    /// Lets the agent send so much more content than the request itself did.
    pub(super) fn grant(&mut self, bytes: u32) -> Result<()> {
        self.shared.grant(self.request, bytes);
        self.send(&Request::Credit(bytes))
    }

    /// Waits for the next answer. One that says that the request failed is an error here, and ends it.
    pub(super) fn next(&mut self, timeout: Option<Duration>) -> Result<Answer> {
        let received = match timeout {
            Some(timeout) => self.answers.recv_timeout(timeout),
            None => self.answers.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(answer) => self.answered(answer),
            Err(RecvTimeoutError::Disconnected) => Err(self.gone()),
            Err(RecvTimeoutError::Timeout) => Err(Error::Timeout {
                machine: self.shared.machine.clone(),
                request: self.asked.noun.clone(),
                timeout: timeout.unwrap_or_default(),
                console: self.shared.console(),
            }),
        }
    }

    /// Whether the request has failed already, or the link has.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.answers.try_recv() {
            Ok(answer) => {
                let answer = self.answered(answer)?;
                Err(self.shared.lost(&self.asked, answer.unexpected()))
            }
            Err(TryRecvError::Disconnected) => Err(self.gone()),
            Err(TryRecvError::Empty) => Ok(()),
        }
    }

    fn answered(&mut self, answer: Answer) -> Result<Answer> {
        match answer {
            Answer::Error(reason) => {
                self.finish();
                Err(self.shared.refused(&self.asked, reason))
            }
            answer => Ok(answer),
        }
    }

    /// The error for a link that has closed, and with it the request; or for a request that somebody else forgot, which
    /// the agent is still to be told.
    fn gone(&mut self) -> Error {
        let closed = self.shared.closed();
        if closed.is_some() {
            self.finish();
        }
        self.shared.lost(&self.asked, closed.unwrap_or_else(|| "nobody waits for it any more".into()))
    }

    /// Notes that the agent has nothing more to say.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.forget(self.request);
        if !self.finished {
            // Nobody is left to be told of a failure, and a closed link has ended the request too.
            let _ = self.shared.send(self.request, &Request::Close);
        }
    }
}
