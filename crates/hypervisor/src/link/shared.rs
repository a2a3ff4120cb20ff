//! What requests and the reading thread share.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendFlags, Shutdown};
use virtmark_protocol::{
    Decoder, EncodeError, ErrorKind, Frame, NO_SESSION, Reply, Request, VERSION, encode,
};

use super::asked::Asked;
use super::pending::Answer;
use super::{ConsoleTail, ReadyEvents};
use crate::{Error, GuestFacts};

/// How many answers without content one request may have; the longest has two.
const WORDS: u32 = 16;

/// How long the guest may take nothing of what is sent to it.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// One link's state, shared by its requests and its reading thread.
pub(super) struct Shared {
    pub(super) machine: String,
    console: ConsoleTail,
    session: u64,
    next_request: AtomicU32,
    /// Read by the reading thread, written to by whoever holds `frame`, closed by anybody.
    stream: File,
    /// Holds the frame that is sent; kept for its memory.
    frame: Mutex<Vec<u8>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What is known of the agent, and who waits for it.
#[derive(Default)]
pub(super) struct State {
    pub(super) first_frame_at: Option<Instant>,
    pub(super) events: Option<ReadyEvents>,
    pub(super) facts: Option<GuestFacts>,
    /// Why the agent will never open a session.
    pub(super) refused: Option<String>,
    /// Why nothing more will come.
    closed: Option<String>,
    waiting: HashMap<u32, Waiting>,
}

struct Waiting {
    answers: Sender<Answer>,
    /// Where a thread that sends standard input waits.
    stdin_credit: Option<Sender<u32>>,
    /// How much content the agent may still send.
    granted_bytes: u64,
    /// How many answers without content it may still send.
    words_left: u32,
}

impl Waiting {
    /// Whether the agent may send this. One that sends what nobody asked for is no agent of ours, and would fill the
    /// host's memory.
    fn allows(&mut self, answer: &Answer) -> bool {
        let content_bytes = match answer {
            Answer::Output(chunk) => chunk.data.len(),
            Answer::GetData(data) => data.len(),
            _ => 0,
        };
        if content_bytes == 0 {
            self.words_left = self.words_left.saturating_sub(1);
            return self.words_left > 0;
        }
        match self.granted_bytes.checked_sub(content_bytes as u64) {
            Some(left) => self.granted_bytes = left,
            None => return false,
        }
        true
    }
}

/// Why a message was not sent.
pub(super) enum SendError {
    Encode(EncodeError),
    Lost(String),
}

impl SendError {
    pub(super) fn into_error(self, shared: &Shared, asked: &Asked) -> Error {
        match self {
            Self::Encode(error) => shared.refused(asked, error.to_string()),
            Self::Lost(reason) => shared.lost(asked, reason),
        }
    }
}

impl Shared {
    pub(super) fn new(stream: OwnedFd, machine: String, console: ConsoleTail) -> io::Result<Arc<Self>> {
        set_socket_timeout(&stream, Timeout::Send, Some(SEND_TIMEOUT))?;
        Ok(Arc::new(Self {
            machine,
            console,
            session: new_session(),
            next_request: AtomicU32::new(1),
            stream: File::from(stream),
            frame: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// Reads until the stream ends.
    pub(super) fn read_all(&self) {
        let mut stream = &self.stream;
        let mut decoder = Decoder::new();
        loop {
            match decoder.read_from(&mut stream) {
                Ok(0) => return self.close("its machine closed the connection".into()),
                Ok(_) => {
                    let at = Instant::now();
                    while let Some(frame) = decoder.next_frame() {
                        self.take(frame, at);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.close(format!("the connection failed: {error}")),
            }
        }
    }

    /// Takes a frame that was complete at `at`.
    fn take(&self, frame: Frame<'_>, at: Instant) {
        let mut state = self.state();
        let first_frame_at = *state.first_frame_at.get_or_insert(at);
        let header = frame.header;
        if header.version != VERSION {
            state.refused = Some(format!(
                "it speaks version {} of the protocol, and this virtmark version {VERSION}; rebuild the image",
                header.version
            ));
        } else if header.session == self.session {
            match Reply::decode(frame.payload) {
                Ok(Reply::Hello(facts)) => {
                    state.facts = Some(GuestFacts {
                        agent_version: facts.agent_version.into(),
                        protocol_version: header.version,
                        kernel: facts.kernel.into(),
                        init_started_ns: facts.init_started_ns,
                        ready_ns: facts.ready_ns,
                        is_init: facts.is_init,
                    });
                    state.events.get_or_insert(ReadyEvents { first_frame_at, connected_at: at });
                }
                Ok(Reply::Error { kind: ErrorKind::Version, message }) => {
                    state.refused = Some(message.into())
                }
                Ok(Reply::StdinCredit(bytes)) => {
                    let waiting = state.waiting.get(&header.request);
                    if let Some(credit) = waiting.and_then(|waiting| waiting.stdin_credit.as_ref()) {
                        // Whoever sent the input may have given up.
                        let _ = credit.send(bytes);
                    }
                }
                Ok(reply) => {
                    // Of a request that was given up, or whose receiver is about to say so.
                    let waiting = state.waiting.get_mut(&header.request);
                    if let Some((waiting, answer)) = waiting.zip(Answer::of(reply)) {
                        if !waiting.allows(&answer) {
                            drop(state);
                            return self.close("it sent more than it was asked for".into());
                        }
                        let _ = waiting.answers.send(answer);
                    }
                    return;
                }
                Err(error) => {
                    // It was intact, so the agent is not what it says; the request cannot go on.
                    if let Some(waiting) = state.waiting.get(&header.request) {
                        let _ = waiting.answers.send(Answer::Error(error.to_string()));
                    }
                }
            }
        } else if header.session != NO_SESSION {
            // What a machine was saying to an earlier host when its snapshot was taken.
            return;
        }
        self.changed.notify_all();
    }

    /// Sends a hello, unless so many are waiting to be read that there is no room.
    pub(super) fn hello(&self) -> Result<(), String> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let mut frame = lock(&self.frame);
        frame.clear();
        encode(self.session, request, &Request::Hello, &mut frame).map_err(|error| error.to_string())?;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match rustix::net::send(&self.stream, &frame, flags) {
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            sent => sent.map_err(io::Error::from).and_then(|sent| (&self.stream).write_all(&frame[sent..])),
        };
        sent.map_err(|error| self.send_failed(&error))
    }

    /// Sends a message of a request; waits while the guest does not take it.
    pub(super) fn send(&self, request: u32, message: &Request<'_>) -> Result<(), SendError> {
        let mut frame = lock(&self.frame);
        frame.clear();
        encode(self.session, request, message, &mut frame).map_err(SendError::Encode)?;
        (&self.stream).write_all(&frame).map_err(|error| SendError::Lost(self.send_failed(&error)))
    }

    /// A frame may have been sent in part: the link is of no use any more.
    fn send_failed(&self, error: &io::Error) -> String {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock => format!("it took nothing for {SEND_TIMEOUT:?}"),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                "its machine closed the connection".into()
            }
            _ => format!("the connection failed: {error}"),
        };
        self.close(reason.clone());
        self.closed().unwrap_or(reason)
    }

    /// Makes room for the answers to a request.
    pub(super) fn register(&self) -> Result<(u32, Receiver<Answer>), String> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (answers, receiver) = channel();
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        let waiting = Waiting { answers, stdin_credit: None, granted_bytes: 0, words_left: WORDS };
        state.waiting.insert(request, waiting);
        Ok((request, receiver))
    }

    /// Lets the agent send so much more content; to be called before it is told.
    pub(super) fn grant(&self, request: u32, bytes: u32) {
        if let Some(waiting) = self.state().waiting.get_mut(&request) {
            waiting.granted_bytes += u64::from(bytes);
        }
    }

    /// Makes room for the credit of a request's standard input. It ends with the request.
    pub(super) fn register_stdin(&self, request: u32) -> Receiver<u32> {
        let (credit, receiver) = channel();
        if let Some(waiting) = self.state().waiting.get_mut(&request) {
            waiting.stdin_credit = Some(credit);
        }
        receiver
    }

    /// Nobody waits for this request any more.
    pub(super) fn forget(&self, request: u32) {
        self.state().waiting.remove(&request);
    }

    /// Ends everything, for a reason. The first one counts.
    pub(super) fn close(&self, reason: String) {
        let mut state = self.state();
        if state.closed.is_none() {
            state.closed = Some(reason);
        }
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
        // Fails only when the other end has closed it already.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Both);
    }

    /// Ends what is sent, and goes on reading.
    pub(super) fn hang_up(&self) {
        // Fails only when the other end has closed it already.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Write);
    }

    /// Why the link is closed, if it is.
    pub(super) fn closed(&self) -> Option<String> {
        self.state().closed.clone()
    }

    /// Waits until something was heard, at most as long as `timeout`.
    pub(super) fn wait_change(&self, timeout: Duration) {
        let state = self.state();
        if state.events.is_none() && state.closed.is_none() {
            drop(self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until the link is closed, at most as long as `timeout`.
    pub(super) fn wait_closed(&self, timeout: Duration) {
        let state = self.state();
        if state.closed.is_none() {
            drop(self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn console(&self) -> String {
        (self.console)()
    }

    pub(super) fn lost(&self, asked: &Asked, reason: String) -> Error {
        Error::AgentLost {
            machine: self.machine.clone(),
            request: asked.noun.clone(),
            reason,
            console: self.console(),
        }
    }

    pub(super) fn refused(&self, asked: &Asked, reason: String) -> Error {
        Error::AgentRefused { machine: self.machine.clone(), request: asked.verb.clone(), reason }
    }
}

/// A number that no other host process has used with this guest: random, and not that of no session.
fn new_session() -> u64 {
    loop {
        let session = RandomState::new().hash_one(std::process::id());
        if session != NO_SESSION {
            return session;
        }
    }
}

/// Each lock guards values that are whole between any two statements that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
