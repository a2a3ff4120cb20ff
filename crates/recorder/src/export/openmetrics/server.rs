//! A server that answers `GET /metrics`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use virtmark_host::signals::Interrupt;
use virtmark_timeseries::Reader;

use super::exposition::{CONTENT_TYPE, exposition};
use super::request::{self, Asked};

/// Most connections that are answered at the same time; others are told to come back.
pub const MAX_CONNECTIONS: usize = 8;
/// Most bytes of a request, its body not counted: nobody gets to send one.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// How long a request may take to come, and its answer to be taken.
const MOST_TIME: Duration = Duration::from_secs(5);
/// How soon an interrupt is seen.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers scrapes of a store until there is an interrupt, and then waits for the answers that are under way.
///
/// `GET /metrics` gives the [`exposition`] of the store as it then is: it is opened for each scrape, so series that
/// came later, and a store that was made anew, are seen, and a store that cannot be opened is status 500 with the
/// reason. Each connection has a thread, one request and a few seconds; past [`MAX_CONNECTIONS`] the answer is 503.
///
/// # Errors
///
/// The listener cannot be waited on.
pub fn serve(listener: &TcpListener, store: &Path, interrupt: &Interrupt) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        while !interrupt.requested() {
            if !has_caller(listener)? {
                continue;
            }
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                // The caller may be gone again, or there are no descriptors left: neither ends the service.
                Err(_) => {
                    interrupt.wait_timeout(Duration::from_millis(10));
                    continue;
                }
            };
            if open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::AcqRel);
                refuse(&mut stream);
                continue;
            }
            let open = &open;
            let spawned = thread::Builder::new().name("scrape".into()).spawn_scoped(scope, move || {
                answer(&mut stream, store);
                open.fetch_sub(1, Ordering::AcqRel);
            });
            if spawned.is_err() {
                open.fetch_sub(1, Ordering::AcqRel);
            }
        }
        Ok(())
    })
}

fn has_caller(listener: &TcpListener) -> io::Result<bool> {
    let mut waited = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut waited, Some(&LOOK_UP)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Too many connections: an answer that fits every socket's buffer, without a thread.
fn refuse(stream: &mut TcpStream) {
    let _ = stream.set_nonblocking(true);
    let text = format!("{MAX_CONNECTIONS} scrapes are under way; come back later\n");
    let _ = stream.write_all(response("503 Service Unavailable", TEXT, &text).as_bytes());
    close(stream, Duration::ZERO);
}

fn answer(stream: &mut TcpStream, store: &Path) {
    if stream.set_nonblocking(false).is_err() {
        return;
    }
    let started = Instant::now();
    let Some(asked) = request::read(stream, MOST_TIME) else { return };
    let (status, kind, text) = match asked {
        Asked::Metrics => match Reader::open(store) {
            Ok(reader) => ("200 OK", CONTENT_TYPE, exposition(&reader)),
            Err(error) => ("500 Internal Server Error", TEXT, format!("{error}\n")),
        },
        Asked::OtherMethod => ("405 Method Not Allowed", TEXT, "only GET /metrics is answered\n".into()),
        Asked::OtherPath => ("404 Not Found", TEXT, "only GET /metrics is answered\n".into()),
        Asked::Nonsense => ("400 Bad Request", TEXT, "this is not HTTP/1\n".into()),
        Asked::TooLong => (
            "431 Request Header Fields Too Large",
            TEXT,
            format!("a request has {MAX_REQUEST_BYTES} bytes at most\n"),
        ),
    };
    write_within(stream, response(status, kind, &text).as_bytes(), started + 2 * MOST_TIME);
    close(stream, Duration::from_millis(200));
}

/// Writes as long as there is time; a caller that takes one byte a minute is left.
fn write_within(stream: &mut TcpStream, mut bytes: &[u8], until: Instant) {
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_write_timeout(Some(left)).is_err() {
            return;
        }
        match stream.write(bytes) {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes = &bytes[count..],
        }
    }
}

/// Closes so that the answer arrives: closing a socket with unread bytes would throw it away at the caller.
fn close(stream: &mut TcpStream, within: Duration) {
    let _ = stream.shutdown(Shutdown::Write);
    let until = Instant::now() + within;
    let mut rest = [0; 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() && stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut rest) {
            Ok(count) if count > 0 && !left.is_zero() => {}
            _ => return,
        }
    }
}

fn response(status: &str, kind: &str, text: &str) -> String {
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n{text}",
        text.len()
    )
}
