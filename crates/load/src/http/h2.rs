//! A connection of HTTP/2 (RFC 9113) without negotiation: a stream for each call.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use crate::http::frame::{self, Frame, MAX_FRAME_BYTES};
use crate::http::lane::{Call, Connection, Ended};
use crate::http::request::Request;
use crate::http::socket::{Received, Socket, failure, lost};
use crate::http::{hpack, socket};
use crate::target::CallFailure;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window there is, for a stream: longer bodies are not read to their end.
const STREAM_WINDOW: u32 = 0x7fff_ffff;
/// What every window has before anybody says otherwise.
const DEFAULT_WINDOW: i64 = 65_535;
/// After so many bytes the connection's window is made as large as it can be again.
const TOP_UP_BYTES: u32 = 1 << 30;
/// A connection is replaced before its stream numbers run out.
const LAST_STREAM: u32 = 1 << 30;
/// Longest header block of a response.
const MAX_BLOCK_BYTES: usize = 256 * 1024;
/// `CANCEL` (section 7).
const CANCEL: u32 = 8;

/// What is sent for every call.
#[derive(Debug)]
pub(crate) struct Prepared {
    block: Vec<u8>,
    body: Vec<u8>,
}

impl Prepared {
    pub(crate) fn new(request: &Request) -> Result<Self, String> {
        let block = hpack::encode(request);
        if block.len() > MAX_FRAME_BYTES {
            return Err(format!("cannot send {} bytes of header fields by HTTP/2; say fewer", block.len()));
        }
        Ok(Self { block, body: request.body.clone() })
    }
}

pub(crate) struct H2 {
    address: SocketAddr,
    request: Arc<Prepared>,
    capacity: usize,
    token: u64,
    open: Option<Open>,
    /// Calls that wait for the server to allow another stream.
    queue: VecDeque<Call>,
}

/// An open connection, or one that is being opened.
struct Open {
    socket: Socket,
    /// To be sent.
    outbox: Vec<u8>,
    sent: usize,
    /// The beginning of a frame whose end has not come.
    inbox: Vec<u8>,
    streams: Vec<Stream>,
    next_stream: u32,
    max_streams: usize,
    /// The server's have come.
    has_settings: bool,
    /// No new streams: the server wants to end, or numbers run out.
    is_ending: bool,
    /// Bytes that the server may still be sent on all streams together.
    window: i64,
    initial_window: i64,
    received_bytes: u32,
    /// A block of header fields that goes on in the next frame: its stream, and whether that ends with it.
    block: Option<(u32, bool, Vec<u8>)>,
}

struct Stream {
    id: u32,
    call: Call,
    status: Option<u16>,
    /// How much of the body was sent.
    sent: usize,
    window: i64,
}

impl H2 {
    pub(crate) fn new(address: SocketAddr, request: Arc<Prepared>, capacity: usize, token: u64) -> Self {
        Self { address, request, capacity, token, open: None, queue: VecDeque::new() }
    }

    /// Begins what waits, and sends what is to be sent.
    fn go_on(&mut self, epoll: &OwnedFd) -> Result<(), CallFailure> {
        if self.open.as_ref().is_some_and(|open| open.is_ending && open.streams.is_empty()) {
            self.open = None;
        }
        if self.open.is_none() {
            if self.queue.is_empty() {
                return Ok(());
            }
            let socket = Socket::connect(self.address, epoll, self.token);
            let socket = socket.map_err(|error| failure("connect to", self.address, error))?;
            self.open = Some(Open::new(socket));
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        while !open.is_ending && open.streams.len() < open.max_streams {
            let Some(call) = self.queue.pop_front() else { break };
            open.begin(call, &self.request);
        }
        open.send(&self.request.body).map_err(|error| failure("call", self.address, error))
    }

    fn receive(&mut self, buffer: &mut [u8], ended: &mut Ended) -> Result<(), CallFailure> {
        while let Some(open) = &mut self.open {
            match open.socket.receive(buffer) {
                Ok(Received::Nothing) => break,
                Ok(Received::End) if open.streams.is_empty() => self.open = None,
                Ok(Received::End) => return Err(lost(self.address)),
                Ok(Received::Bytes(bytes)) => {
                    let address = self.address;
                    open.read(&buffer[..bytes], address, ended).map_err(|why| {
                        CallFailure::new("malformed", format!("cannot read the answer of {address}: {why}"))
                    })?;
                }
                Err(error) => return Err(failure("read from", self.address, error)),
            }
        }
        Ok(())
    }

    /// The connection is of no use any more: all of its calls have failed, and so have those that wait for it.
    fn fail(&mut self, failure: &CallFailure, ended: &mut Ended) {
        let streams = self.open.take().into_iter().flat_map(|open| open.streams).map(|stream| stream.call);
        ended.extend(streams.chain(self.queue.drain(..)).map(|call| (call, Err(failure.clone()))));
    }
}

impl Open {
    fn new(socket: Socket) -> Self {
        let mut outbox = PREFACE.to_vec();
        let settings = frame::settings_payload(&[
            (frame::HEADER_TABLE_SIZE, 0),
            (frame::ENABLE_PUSH, 0),
            (frame::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
        ]);
        Frame { kind: frame::SETTINGS, flags: 0, stream: 0, payload: &settings }.write(&mut outbox);
        window_update(&mut outbox, STREAM_WINDOW - DEFAULT_WINDOW as u32);
        Self {
            socket,
            outbox,
            sent: 0,
            inbox: Vec::new(),
            streams: Vec::new(),
            next_stream: 1,
            // Until the server has said how many it allows, others might be refused.
            max_streams: 1,
            has_settings: false,
            is_ending: false,
            window: DEFAULT_WINDOW,
            initial_window: DEFAULT_WINDOW,
            received_bytes: 0,
            block: None,
        }
    }

    fn begin(&mut self, call: Call, request: &Prepared) {
        let id = self.next_stream;
        self.next_stream += 2;
        self.is_ending |= id >= LAST_STREAM;
        let end = if request.body.is_empty() { frame::END_STREAM } else { 0 };
        let flags = frame::END_HEADERS | end;
        Frame { kind: frame::HEADERS, flags, stream: id, payload: &request.block }.write(&mut self.outbox);
        self.streams.push(Stream { id, call, status: None, sent: 0, window: self.initial_window });
    }

    fn send(&mut self, body: &[u8]) -> Result<(), rustix::io::Errno> {
        for stream in &mut self.streams {
            while stream.sent < body.len() {
                let room = self.window.min(stream.window).clamp(0, MAX_FRAME_BYTES as i64) as usize;
                let now = room.min(body.len() - stream.sent);
                if now == 0 {
                    break;
                }
                let payload = &body[stream.sent..stream.sent + now];
                stream.sent += now;
                stream.window -= now as i64;
                self.window -= now as i64;
                let flags = if stream.sent == body.len() { frame::END_STREAM } else { 0 };
                Frame { kind: frame::DATA, flags, stream: stream.id, payload }.write(&mut self.outbox);
            }
        }
        while self.sent < self.outbox.len() {
            match self.socket.send(&self.outbox[self.sent..])? {
                0 => return Ok(()),
                bytes => self.sent += bytes,
            }
        }
        self.outbox.clear();
        self.sent = 0;
        Ok(())
    }

    fn read(&mut self, bytes: &[u8], address: SocketAddr, ended: &mut Ended) -> Result<(), &'static str> {
        // Whole frames are read where they are; only what is left is kept.
        let mut inbox = std::mem::take(&mut self.inbox);
        if inbox.is_empty() {
            inbox.extend_from_slice(self.read_frames(bytes, address, ended)?);
        } else {
            inbox.extend_from_slice(bytes);
            let left = self.read_frames(&inbox, address, ended)?.len();
            inbox.drain(..inbox.len() - left);
        }
        self.inbox = inbox;
        Ok(())
    }

    /// What is left behind the last whole frame.
    fn read_frames<'a>(
        &mut self,
        mut bytes: &'a [u8],
        address: SocketAddr,
        ended: &mut Ended,
    ) -> Result<&'a [u8], &'static str> {
        while let Some((frame, behind)) = Frame::split(bytes)? {
            self.take(frame, address, ended)?;
            bytes = behind;
        }
        Ok(bytes)
    }

    fn take(&mut self, frame: Frame<'_>, address: SocketAddr, ended: &mut Ended) -> Result<(), &'static str> {
        if self.block.is_some() && frame.kind != frame::CONTINUATION {
            return Err("a block of header fields is interrupted");
        }
        match frame.kind {
            frame::DATA => {
                // Padding counts too.
                self.received_bytes += frame.payload.len() as u32;
                if self.received_bytes >= TOP_UP_BYTES {
                    window_update(&mut self.outbox, std::mem::take(&mut self.received_bytes));
                }
                if frame.has(frame::END_STREAM) {
                    frame.content()?;
                    self.finish(frame.stream, ended);
                }
            }
            frame::HEADERS => {
                self.block = Some((frame.stream, frame.has(frame::END_STREAM), frame.content()?.to_vec()));
                if frame.has(frame::END_HEADERS) {
                    self.block_ended(ended)?;
                }
            }
            frame::CONTINUATION => {
                let Some((stream, _, block)) = &mut self.block else {
                    return Err("a block of header fields goes on that did not begin");
                };
                block.extend_from_slice(frame.payload);
                if *stream != frame.stream || block.len() > MAX_BLOCK_BYTES {
                    return Err("a block of header fields has no end");
                }
                if frame.has(frame::END_HEADERS) {
                    self.block_ended(ended)?;
                }
            }
            frame::SETTINGS if !frame.has(frame::ACK) => self.settings(frame.payload),
            frame::WINDOW_UPDATE => {
                let more = i64::from(frame.number(0)? & 0x7fff_ffff);
                if frame.stream == 0 {
                    self.window += more;
                } else if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == frame.stream)
                {
                    stream.window += more;
                }
            }
            frame::PING if !frame.has(frame::ACK) => {
                Frame { flags: frame::ACK, ..frame }.write(&mut self.outbox);
            }
            frame::RST_STREAM => {
                let code = frame.number(0)?;
                self.drop_streams(
                    |stream| stream.id == frame.stream,
                    ended,
                    || {
                        CallFailure::new(
                            "stream_reset",
                            format!("{address} gave up the call with error code {code}"),
                        )
                    },
                );
            }
            frame::GOAWAY => {
                self.is_ending = true;
                let last = frame.number(0)? & 0x7fff_ffff;
                self.drop_streams(|stream| stream.id > last, ended, || lost(address));
            }
            frame::PUSH_PROMISE => return Err("it pushes, which it was told not to"),
            // What is not known is to be ignored (section 4.1).
            _ => {}
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) {
        if !std::mem::replace(&mut self.has_settings, true) {
            // As many as there are, unless it says otherwise.
            self.max_streams = usize::MAX;
        }
        for (name, value) in frame::settings(payload) {
            match name {
                frame::MAX_CONCURRENT_STREAMS => self.max_streams = value as usize,
                frame::INITIAL_WINDOW_SIZE => {
                    let change = i64::from(value) - self.initial_window;
                    self.initial_window += change;
                    self.streams.iter_mut().for_each(|stream| stream.window += change);
                }
                _ => {}
            }
        }
        Frame { kind: frame::SETTINGS, flags: frame::ACK, stream: 0, payload: &[] }.write(&mut self.outbox);
    }

    fn block_ended(&mut self, ended: &mut Ended) -> Result<(), &'static str> {
        let Some((id, is_end, block)) = self.block.take() else { return Ok(()) };
        let status = hpack::status(&block).map_err(|()| "its header fields cannot be read")?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            match (stream.status, status) {
                // Informational: the response itself follows.
                (None, Some(100..200)) if !is_end => return Ok(()),
                (None, Some(status)) => stream.status = Some(status),
                (None, None) => return Err("a response has no status"),
                // Trailers.
                (Some(_), _) => {}
            }
            if is_end {
                self.finish(id, ended);
            }
        }
        Ok(())
    }

    /// The server has said all on this stream. What is left of the request is for nobody.
    fn finish(&mut self, id: u32, ended: &mut Ended) {
        let Some(at) = self.streams.iter().position(|stream| stream.id == id) else { return };
        let stream = self.streams.swap_remove(at);
        let no_status = || CallFailure::new("malformed", "the answer has no status");
        ended.push((stream.call, stream.status.ok_or_else(no_status).and_then(socket::judge)));
    }

    fn drop_streams(
        &mut self,
        which: impl Fn(&Stream) -> bool,
        ended: &mut Ended,
        failure: impl Fn() -> CallFailure,
    ) {
        let dropped = self.streams.extract_if(.., |stream| which(stream));
        ended.extend(dropped.map(|stream| (stream.call, Err(failure()))));
    }
}

impl Connection for H2 {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn begin(&mut self, call: Call, epoll: &OwnedFd, ended: &mut Ended) {
        self.queue.push_back(call);
        if let Err(failure) = self.go_on(epoll) {
            self.fail(&failure, ended);
        }
    }

    fn ready(&mut self, _: bool, epoll: &OwnedFd, buffer: &mut [u8], ended: &mut Ended) {
        let result =
            self.go_on(epoll).and_then(|()| self.receive(buffer, ended)).and_then(|()| self.go_on(epoll));
        if let Err(failure) = result {
            self.fail(&failure, ended);
        }
    }

    fn expire(&mut self, now: Instant, ended: &mut Ended) {
        let late =
            || CallFailure::timeout(format!("there was no complete answer of {} in time", self.address));
        let waited = self.queue.iter().filter(|call| call.limit <= now).count();
        // In the order of their limits: all have the same time.
        ended.extend(self.queue.drain(..waited).map(|call| (call, Err(late()))));
        if let Some(open) = &mut self.open {
            for stream in open.streams.extract_if(.., |stream| stream.call.limit <= now) {
                let payload = &CANCEL.to_be_bytes();
                Frame { kind: frame::RST_STREAM, flags: 0, stream: stream.id, payload }
                    .write(&mut open.outbox);
                ended.push((stream.call, Err(late())));
            }
        }
    }
}

fn window_update(outbox: &mut Vec<u8>, bytes: u32) {
    Frame { kind: frame::WINDOW_UPDATE, flags: 0, stream: 0, payload: &bytes.to_be_bytes() }.write(outbox);
}
