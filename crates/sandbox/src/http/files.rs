//! Files of a guest, streamed between the client and blocking calls, a few pieces at a time.

use std::io::{self, Read, Write};
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

use super::blocking::{Lane, finished};
use super::body::{AnswerBody, Piece};
use super::dispatch::{Answer, Call, Shared, answer};
use super::input;
use super::refusal::Refusal;
use crate::api::GuestPath;

/// Pieces on their way between the two sides.
const PIECES: usize = 4;
/// Permission bits of a file whose request does not say.
const MODE: u32 = 0o644;
const CONTENT_TYPE: &str = "application/octet-stream";

/// `PUT /sandboxes/{sandbox_id}/files`.
pub(super) async fn put(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    let id = call.sandbox_id()?;
    let query = call.query(&["path", "mode"])?;
    let path = guest_path(query.get("path"))?;
    let mode = query.get("mode").map_or(Ok(MODE), |text| permissions(text))?;
    let size = input::content_length(&call.parts.headers).ok_or(Refusal::LengthRequired)?;
    let limit_bytes = shared.service.options().max_file_bytes;
    if size > limit_bytes {
        return Err(Refusal::BodyTooLarge { limit_bytes });
    }
    let (pieces, receiver) = channel(PIECES);
    let service = shared.service.clone();
    let mut source = Source { pieces: receiver, rest: Bytes::new() };
    let job = shared.pool.start(Lane::Work, move || service.put_file(&id, &path, mode, size, &mut source))?;
    let sent = send_body(shared, call, pieces).await;
    let written = finished(job, "a file for a guest").await?;
    // What the client did explains what the guest made of it.
    sent?;
    written?;
    let mut answer = Response::new(AnswerBody::Whole(None, None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

/// Passes the body on, until its end or until nobody wants it any more.
async fn send_body(shared: &Shared, call: Call<'_>, pieces: Sender<Bytes>) -> Result<(), Refusal> {
    let options = &shared.options;
    let end = Instant::now() + options.transfer_timeout;
    loop {
        let stalled = Instant::now() + options.stall_timeout;
        let (deadline, timeout) =
            if end < stalled { (end, options.transfer_timeout) } else { (stalled, options.stall_timeout) };
        let Some(piece) = input::piece(call.body, deadline, timeout).await? else { return Ok(()) };
        match timeout_at(end, pieces.send(piece)).await {
            Ok(Ok(())) => {}
            // The call has ended and says why.
            Ok(Err(_)) => return Ok(()),
            Err(_) => return Err(Refusal::BodyTooSlow(options.transfer_timeout)),
        }
    }
}

/// A body as a blocking call reads it.
struct Source {
    pieces: Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// `GET /sandboxes/{sandbox_id}/files`.
pub(super) async fn get(shared: &Arc<Shared>, call: Call<'_>) -> Result<Answer, Refusal> {
    let id = call.sandbox_id()?;
    let path = guest_path(call.query(&["path"])?.get("path"))?;
    let (pieces, mut receiver) = channel(PIECES);
    let service = shared.service.clone();
    let mut target = Target { pieces, end: Instant::now() + shared.options.transfer_timeout };
    let job = shared.pool.start(Lane::Work, move || {
        let outcome = service.get_file(&id, &path, &mut target);
        let last = if outcome.is_ok() { Piece::End } else { Piece::Broken };
        // Nobody to tell means that the client is gone.
        let _ = target.pieces.blocking_send(last);
        outcome
    })?;
    // The first piece decides: before it a failure is an answer, after it only the end of the connection.
    match receiver.recv().await {
        Some(first @ Piece::Data(_)) => Ok(answer(CONTENT_TYPE, AnswerBody::stream(first, receiver))),
        _ => {
            finished(job, "a file of a guest").await??;
            Ok(answer(CONTENT_TYPE, Vec::new().into()))
        }
    }
}

/// A client as a blocking call writes to it.
struct Target {
    pieces: Sender<Piece>,
    /// When it has taken too long.
    end: Instant,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if Instant::now() > self.end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes the file too slowly"));
        }
        self.pieces
            .blocking_send(Piece::Data(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn guest_path(text: Option<&String>) -> Result<GuestPath, Refusal> {
    let text = text.ok_or_else(|| Refusal::InvalidRequest("the query has no path".into()))?;
    Ok(text.parse().map_err(crate::Error::from)?)
}

/// Permission bits: three octal digits, or four of which the first is 0.
fn permissions(text: &str) -> Result<u32, Refusal> {
    let digits = if text.len() == 4 { text.strip_prefix('0').unwrap_or(text) } else { text };
    if digits.len() == 3 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')) {
        // Three octal digits are a number.
        return Ok(u32::from_str_radix(digits, 8).unwrap_or(MODE));
    }
    Err(Refusal::InvalidRequest(format!("mode is {text:?}; three octal digits such as 0644 are wanted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_three_octal_digits() {
        for (text, mode) in [("644", 0o644), ("0755", 0o755), ("000", 0), ("0000", 0)] {
            assert_eq!(permissions(text).unwrap(), mode, "{text}");
        }
        for text in ["", "0", "64", "4755", "00644", "648", "+64", "0x1f", "-644"] {
            assert!(permissions(text).is_err(), "{text}");
        }
    }
}
