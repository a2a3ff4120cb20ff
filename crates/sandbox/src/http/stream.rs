//! `POST /exec/stream`: a command's output as server-sent events, while it runs.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;
use virtmark_hypervisor::Cancel;

use super::blocking::{Lane, Waiting, finished};
use super::body::{AnswerBody, Piece};
use super::dispatch::{Answer, Call, Failure, Shared, answer, json_bytes};
use super::refusal::Refusal;
use crate::api::{ExecRequest, StreamEvent};

/// Events on their way to the client. What a command writes beyond that waits in the guest.
const EVENTS: usize = 8;
/// How long a failure of a command that has written nothing can still be the status of the answer; later it is an
/// event.
const BEGIN_TIME: Duration = Duration::from_millis(200);
/// How often a command whose client takes nothing looks whether it is given up.
const CHECK: Duration = Duration::from_millis(100);
/// So many looks later its last events are given up too.
const LAST_CHECKS: u32 = 10;
const CONTENT_TYPE: &str = "text/event-stream";

pub(super) async fn exec(shared: &Arc<Shared>, mut call: Call<'_>) -> Result<Answer, Refusal> {
    let request: ExecRequest = call.json(shared).await?;
    let (pieces, mut receiver) = channel(EVENTS);
    let status_is_sent = Arc::new(AtomicBool::new(false));
    let cancel = Cancel::new();
    let waiting = Waiting(cancel.clone());
    let mut events = Events {
        pieces,
        status_is_sent: status_is_sent.clone(),
        is_empty: true,
        runtime: shared.runtime.clone(),
        cancel: cancel.clone(),
        checks_left: LAST_CHECKS,
    };
    let service = shared.service.clone();
    let job = shared.pool.start(Lane::Work, move || {
        let outcome = service.exec_stream(request, &cancel, &mut |event| events.output(&event));
        events.end(outcome)
    })?;
    let begun = match timeout(BEGIN_TIME, receiver.recv()).await {
        Ok(Some(first @ Piece::Data(_))) => Some(Some(first)),
        Err(_) if !status_is_sent.swap(true, Ordering::AcqRel) => Some(None),
        _ => None,
    };
    if let Some(first) = begun {
        let interval = shared.options.comment_interval;
        return Ok(answer(CONTENT_TYPE, AnswerBody::events(first, receiver, interval, waiting)));
    }
    match finished(job, "a command").await? {
        Some(refusal) => Err(refusal),
        None => Err(Refusal::Internal("a command, which ended without a word".into())),
    }
}

/// The events of one command, on the thread that runs it.
struct Events {
    pieces: Sender<Piece>,
    /// Set by whoever is first: the answer when it starts, the command when its failure becomes the status.
    status_is_sent: Arc<AtomicBool>,
    is_empty: bool,
    runtime: Handle,
    cancel: Cancel,
    /// Looks at a client that takes nothing, once the command is given up.
    checks_left: u32,
}

impl Events {
    fn output(&mut self, event: &StreamEvent) -> ControlFlow<()> {
        match event {
            StreamEvent::Stderr(data) => self.send("stderr", data),
            StreamEvent::Stdout(data) => self.send("stdout", data),
        }
    }

    /// Sends the last event; gives the failure that is to be the status of the answer.
    fn end<T: Serialize>(mut self, outcome: crate::Result<T>) -> Option<Refusal> {
        let refusal = match outcome {
            Ok(end) => {
                // Nobody to tell means that the client is gone; likewise below.
                let _ = self.send("exit", &end);
                None
            }
            Err(error) => Some(Refusal::Core(error)),
        };
        if let Some(refusal) = refusal {
            if self.is_empty && !self.status_is_sent.swap(true, Ordering::AcqRel) {
                let _ = self.hand_over(Piece::Broken);
                return Some(refusal);
            }
            let _ = self.send("error", &Failure::from(&refusal));
        }
        let _ = self.hand_over(Piece::End);
        None
    }

    /// Waits until the client has taken enough of what was sent before; breaks when it is gone.
    fn send(&mut self, name: &str, data: &impl Serialize) -> ControlFlow<()> {
        let Ok(data) = json_bytes(data) else { return ControlFlow::Break(()) };
        // JSON has no line breaks outside of its strings, and none unescaped inside of them.
        let event = [b"event: ", name.as_bytes(), b"\ndata: ", &data, b"\n\n"].concat();
        self.is_empty = false;
        self.hand_over(Piece::Data(Bytes::from(event)))
    }

    fn hand_over(&mut self, piece: Piece) -> ControlFlow<()> {
        loop {
            let place = async { timeout(CHECK, self.pieces.reserve()).await };
            match self.runtime.block_on(place) {
                Ok(Ok(place)) => {
                    place.send(piece);
                    return ControlFlow::Continue(());
                }
                Ok(Err(_)) => return ControlFlow::Break(()),
                Err(_) if self.cancel.is_cancelled() => match self.checks_left.checked_sub(1) {
                    Some(left) => self.checks_left = left,
                    None => return ControlFlow::Break(()),
                },
                Err(_) => {}
            }
        }
    }
}
