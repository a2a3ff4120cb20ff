//! The server that all generators call: one thread, and a log of its own.
//!
//! Its log is the reason that it is ours: it has nanoseconds, from when a request was read until its answer was
//! written, where access logs of known servers have milliseconds.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const LISTENER: u64 = u64::MAX;
const HEAD_END: &[u8] = b"\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nHello there\n";
/// Delays are spread evenly from here on, so that percentiles differ.
const SHORTEST_DELAY: Duration = Duration::from_millis(5);
const DELAY_STEP: Duration = Duration::from_micros(400);
const DELAY_STEPS: u64 = 100;

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

struct Server {
    epoll: OwnedFd,
    connections: HashMap<u64, Connection>,
    /// Requests that are answered later: when, on which connection, and when they were read.
    delayed: BinaryHeap<Reverse<(Instant, u64, Instant)>>,
    next_delay: u64,
    log_ns: Vec<u64>,
}

/// Prints its address and serves until it is killed. `GET /` is answered at once, `GET /delay` after 5 to 45 ms, and
/// `GET /log` with the latencies of delayed answers since the last time.
pub(crate) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server {
        epoll,
        connections: HashMap::new(),
        delayed: BinaryHeap::new(),
        next_delay: 0,
        log_ns: Vec::new(),
    };
    let mut next = 0;
    let mut events = Vec::with_capacity(256);
    loop {
        server.wait(&mut events)?;
        for event in &events {
            let (token, _) = (event.data.u64(), event.flags);
            if token == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    epoll::add(&server.epoll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                    server.connections.insert(next, Connection { stream, input: Vec::new() });
                    next += 1;
                }
            } else if server.read(token).is_err() {
                server.connections.remove(&token);
            }
        }
    }
}

impl Server {
    /// Waits for events or the next delayed answer, and sends those that are due.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        if let Some(Reverse((due, ..))) = self.delayed.peek() {
            let left = due.saturating_duration_since(Instant::now());
            poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Timespec::try_from(left).ok().as_ref())?;
            epoll::wait(&self.epoll, spare_capacity(events), Some(&Timespec::default()))?;
        } else {
            epoll::wait(&self.epoll, spare_capacity(events), None)?;
        }
        while let Some(Reverse((due, token, read))) = self.delayed.peek().copied() {
            if due > Instant::now() {
                break;
            }
            self.delayed.pop();
            if let Some(connection) = self.connections.get_mut(&token)
                && connection.stream.write_all(OK).is_ok()
            {
                self.log_ns.push(read.elapsed().as_nanos() as u64);
            }
        }
        Ok(())
    }

    fn read(&mut self, token: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        let mut buffer = [0; 16 * 1024];
        let bytes = connection.stream.read(&mut buffer)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        connection.input.extend_from_slice(&buffer[..bytes]);
        while let Some(end) = connection.input.windows(4).position(|four| four == HEAD_END) {
            let head: Vec<u8> = connection.input.drain(..end + HEAD_END.len()).collect();
            if head.starts_with(b"GET /delay ") {
                let now = Instant::now();
                let step = (self.next_delay * 37 % DELAY_STEPS) as u32;
                self.next_delay += 1;
                self.delayed.push(Reverse((now + SHORTEST_DELAY + DELAY_STEP * step, token, now)));
            } else if head.starts_with(b"GET /log ") {
                let log: Vec<String> = self.log_ns.drain(..).map(|ns| ns.to_string()).collect();
                let log = log.join("\n");
                connection.stream.set_nonblocking(false)?;
                write!(connection.stream, "HTTP/1.0 200 OK\r\n\r\n{log}")?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            } else {
                connection.stream.write_all(OK)?;
            }
        }
        Ok(())
    }
}
