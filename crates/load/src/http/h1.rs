//! A connection of HTTP/1.1: one call after the other.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use crate::http::lane::{Call, Connection, Ended};
use crate::http::response::{Response, ResponseReader};
use crate::http::socket::{Received, Socket, failure, judge, lost};
use crate::target::CallFailure;

pub(crate) struct H1 {
    address: SocketAddr,
    request: Arc<[u8]>,
    token: u64,
    socket: Option<Socket>,
    reader: ResponseReader,
    call: Option<Call>,
    sent: usize,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
}

impl H1 {
    pub(crate) fn new(address: SocketAddr, request: Arc<[u8]>, is_head: bool, token: u64) -> Self {
        let reader = ResponseReader::new(is_head);
        Self { address, request, token, socket: None, reader, call: None, sent: 0, partial: Vec::new() }
    }

    /// Sends what is left of the request, and says what went wrong.
    fn send(&mut self) -> Result<(), CallFailure> {
        let Some(socket) = &self.socket else { return Ok(()) };
        while self.call.is_some() && self.sent < self.request.len() {
            match socket.send(&self.request[self.sent..]) {
                Ok(0) => break,
                Ok(bytes) => self.sent += bytes,
                // Its answer may have come before it stopped reading, as with a body that is too large.
                Err(Errno::PIPE | Errno::CONNRESET) if self.sent > 0 => break,
                Err(error) => return Err(failure("call", self.address, error)),
            }
        }
        Ok(())
    }

    /// Reads what is there: a response if it is complete.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<Response>, CallFailure> {
        loop {
            let Some(socket) = &self.socket else { return Ok(None) };
            match socket.receive(buffer) {
                Ok(Received::Nothing) => return Ok(None),
                Ok(Received::End) => {
                    let response = self.reader.end();
                    self.close();
                    return if self.call.is_some() && response.is_none() {
                        Err(lost(self.address))
                    } else {
                        Ok(response)
                    };
                }
                Ok(Received::Bytes(bytes)) => {
                    if self.call.is_none() {
                        // Nobody asked for this.
                        self.close();
                        return Ok(None);
                    }
                    if let Some(response) = self.read(&buffer[..bytes])? {
                        return Ok(Some(response));
                    }
                }
                Err(error) => return Err(failure("read from", self.address, error)),
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<Response>, CallFailure> {
        let malformed = |error: crate::http::response::Malformed| {
            CallFailure::new("malformed", format!("cannot read the answer of {}: {error}", self.address))
        };
        let (taken, all, response);
        if self.partial.is_empty() {
            (taken, response) = self.reader.read(bytes).map_err(malformed)?;
            all = bytes.len();
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            self.partial.extend_from_slice(bytes);
            (taken, response) = self.reader.read(&self.partial).map_err(malformed)?;
            all = self.partial.len();
            self.partial.drain(..taken);
        }
        let Some(mut response) = response else { return Ok(None) };
        // More than the answer, or an answer before the whole request: what follows cannot be told apart.
        response.keeps_alive &= taken == all && self.sent == self.request.len();
        Ok(Some(response))
    }

    fn end(&mut self, result: Result<Response, CallFailure>, ended: &mut Ended) {
        if !result.as_ref().is_ok_and(|response| response.keeps_alive) {
            self.close();
        }
        if let Some(call) = self.call.take() {
            ended.push((call, result.and_then(|response| judge(response.status))));
        }
    }

    fn close(&mut self) {
        self.socket = None;
        self.partial.clear();
        self.reader.reset();
    }
}

impl Connection for H1 {
    fn capacity(&self) -> usize {
        1
    }

    fn begin(&mut self, call: Call, epoll: &OwnedFd, ended: &mut Ended) {
        self.call = Some(call);
        self.sent = 0;
        if self.socket.is_none() {
            match Socket::connect(self.address, epoll, self.token) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => return self.end(Err(failure("connect to", self.address, error)), ended),
            }
        }
        if let Err(failure) = self.send() {
            self.end(Err(failure), ended);
        }
    }

    fn ready(&mut self, is_ending: bool, _: &OwnedFd, buffer: &mut [u8], ended: &mut Ended) {
        let result = self.send().and_then(|()| self.receive(buffer));
        match result {
            Ok(None) => {}
            Ok(Some(response)) => {
                let keeps_alive = response.keeps_alive && !is_ending;
                self.end(Ok(Response { keeps_alive, ..response }), ended);
            }
            Err(failure) => self.end(Err(failure), ended),
        }
    }

    fn expire(&mut self, now: Instant, ended: &mut Ended) {
        if self.call.as_ref().is_some_and(|call| call.limit <= now) {
            let what = if self.sent == 0 { "no connection to" } else { "no complete answer of" };
            let failure = CallFailure::timeout(format!("there was {what} {} in time", self.address));
            self.end(Err(failure), ended);
        }
    }
}
