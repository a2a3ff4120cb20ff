//! What goes back to the client.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Sleep, sleep};

use super::blocking::{Unclaimed, Waiting};

/// The outcome of a call that cannot fail, for hyper.
pub(super) type Never = Infallible;

/// The body of an answer.
pub(super) enum AnswerBody {
    /// Pieces that come while they are made.
    Stream(Stream),
    /// All of it, and what is claimed when it is handed out.
    Whole(Option<Bytes>, Option<Unclaimed>),
}

/// Pieces that come while they are made. Unless the last of them is [`Piece::End`] the connection is cut, so that the
/// client does not take a part for the whole.
pub(super) struct Stream {
    first: Option<Piece>,
    rest: Receiver<Piece>,
    ended: bool,
    events: Option<Events>,
}

/// What a stream of events has beside its pieces.
struct Events {
    /// How long it is silent at most.
    interval: Duration,
    /// When its next comment is due.
    comment: Pin<Box<Sleep>>,
    /// Dropped with the connection.
    _waiting: Waiting,
}

impl Events {
    fn restart(&mut self) {
        self.comment.as_mut().reset(Instant::now() + self.interval);
    }
}

/// A line that says nothing (HTML standard, server-sent events).
const COMMENT: &[u8] = b": silence\n\n";

/// A piece of a streamed body.
#[derive(Debug)]
pub(super) enum Piece {
    /// It failed on the way.
    Broken,
    /// More of it.
    Data(Bytes),
    /// It is whole.
    End,
}

impl AnswerBody {
    /// The body that starts with `first` and goes on with `rest`.
    pub(super) fn stream(first: impl Into<Option<Piece>>, rest: Receiver<Piece>) -> Self {
        Self::Stream(Stream { first: first.into(), rest, ended: false, events: None })
    }

    /// As [`stream`](Self::stream), of server-sent events, with a comment after each `interval` without one. When it is
    /// dropped, whatever makes the events is given up.
    pub(super) fn events(
        first: impl Into<Option<Piece>>,
        rest: Receiver<Piece>,
        interval: Duration,
        waiting: Waiting,
    ) -> Self {
        let events = Events { interval, comment: Box::pin(sleep(interval)), _waiting: waiting };
        Self::Stream(Stream { first: first.into(), rest, ended: false, events: Some(events) })
    }
}

impl From<Vec<u8>> for AnswerBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Some(bytes.into()), None)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Stream(stream) => stream.poll(context),
            Self::Whole(bytes, unclaimed) => {
                if let Some(unclaimed) = unclaimed.take() {
                    unclaimed.claim();
                }
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.ended,
            Self::Whole(bytes, _) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(_) => SizeHint::default(),
            Self::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = match self.first.take() {
            Some(piece) => Poll::Ready(Some(piece)),
            None => self.rest.poll_recv(context),
        };
        if let Some(events) = &mut self.events {
            let is_silent = piece.is_pending();
            if is_silent && events.comment.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            events.restart();
            if is_silent {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
            }
        }
        piece.map(|piece| match piece {
            Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            Some(Piece::Broken) | None => {
                self.ended = true;
                Some(Err(io::Error::other("what was being sent cannot be read any further")))
            }
        })
    }
}
