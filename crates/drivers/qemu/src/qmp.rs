//! A client for the QEMU Machine Protocol, on one end of a socket pair whose other end QEMU inherited.
//!
//! The protocol is described in QEMU's `docs/interop/qmp-spec.rst`: one JSON object a line; a greeting, then
//! `qmp_capabilities`, then commands answered by `return` or `error` with the command's `id`, and events in between.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{Value, json};
use thiserror::Error;

/// How a QMP call failed.
#[derive(Debug, Error)]
pub(crate) enum QmpError {
    /// QEMU closed the connection, as it does when it exits.
    #[error("QEMU closed its control connection")]
    Closed,
    /// QEMU refused the command.
    #[error("QEMU refused {command}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's own words.
        description: String,
    },
    /// QEMU did not answer in time.
    #[error("QEMU did not answer {command} within {timeout:?}")]
    Silent {
        /// The command.
        command: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// QEMU said something that is not QMP.
    #[error("QEMU answered with something that is not QMP: {0}")]
    Malformed(String),
    /// The connection failed.
    #[error("the control connection to QEMU failed: {0}")]
    Io(#[from] io::Error),
}

/// An event that QEMU reported.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Its name, as in `SHUTDOWN`.
    pub(crate) name: String,
    /// What it carries.
    pub(crate) data: Value,
}

/// A connection to one QEMU process.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: UnixStream,
    buffer: Vec<u8>,
    events: VecDeque<Event>,
    next_id: u64,
}

/// How many events are kept while nobody waits for one.
const EVENTS_KEPT: usize = 256;

impl Qmp {
    /// Waits for the greeting and negotiates; after this QEMU takes commands.
    pub(crate) fn negotiate(stream: UnixStream, timeout: Duration) -> Result<Self, QmpError> {
        let mut qmp = Self { stream, buffer: Vec::with_capacity(4096), events: VecDeque::new(), next_id: 1 };
        let deadline = Instant::now() + timeout;
        let greeting = qmp.read_message(deadline, "greeting", timeout)?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Malformed(greeting.to_string()));
        }
        qmp.execute("qmp_capabilities", json!({}), timeout)?;
        Ok(qmp)
    }

    /// Runs a command and gives its `return` value.
    pub(crate) fn execute(
        &mut self,
        command: &str,
        arguments: Value,
        timeout: Duration,
    ) -> Result<Value, QmpError> {
        self.send(command, arguments, None)?;
        self.answer(command, timeout)
    }

    /// Hands a descriptor to QEMU under a name, for use as `fd:NAME` in a migration address.
    pub(crate) fn hand_over(
        &mut self,
        name: &str,
        fd: BorrowedFd<'_>,
        timeout: Duration,
    ) -> Result<(), QmpError> {
        self.send("getfd", json!({ "fdname": name }), Some(fd))?;
        self.answer("getfd", timeout).map(drop)
    }

    /// Adds a descriptor to a new set, which is known by `word` too, and gives the path by which QEMU opens it.
    pub(crate) fn add_to_set(
        &mut self,
        fd: BorrowedFd<'_>,
        word: &str,
        timeout: Duration,
    ) -> Result<String, QmpError> {
        self.send("add-fd", json!({ "opaque": word }), Some(fd))?;
        let answer = self.answer("add-fd", timeout)?;
        match answer["fdset-id"].as_u64() {
            Some(set) => Ok(format!("/dev/fdset/{set}")),
            None => Err(QmpError::Malformed(answer.to_string())),
        }
    }

    /// Waits for the first event that `wanted` accepts, among those kept and those to come.
    pub(crate) fn wait_event(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, QmpError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(position) = self.events.iter().position(&wanted)
                && let Some(event) = self.events.remove(position)
            {
                return Ok(event);
            }
            let message = self.read_message(deadline, what, timeout)?;
            self.keep_event(&message);
        }
    }

    /// Forgets the events of this name that nobody waited for.
    pub(crate) fn forget_events(&mut self, name: &str) {
        self.events.retain(|event| event.name != name);
    }

    fn send(&mut self, command: &str, arguments: Value, fd: Option<BorrowedFd<'_>>) -> Result<(), QmpError> {
        let mut line = json!({ "execute": command, "arguments": arguments, "id": self.next_id }).to_string();
        line.push('\n');
        let mut unsent = line.as_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        while !unsent.is_empty() {
            let sent = rustix::io::retry_on_intr(|| {
                rustix::net::sendmsg(
                    self.stream.as_fd(),
                    &[IoSlice::new(unsent)],
                    &mut ancillary,
                    SendFlags::NOSIGNAL,
                )
            })
            .map_err(|error| match error {
                rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET => QmpError::Closed,
                other => QmpError::Io(other.into()),
            })?;
            unsent = &unsent[sent..];
            ancillary.clear();
        }
        Ok(())
    }

    fn answer(&mut self, command: &str, timeout: Duration) -> Result<Value, QmpError> {
        let id = self.next_id;
        self.next_id += 1;
        let deadline = Instant::now() + timeout;
        loop {
            let mut message = self.read_message(deadline, command, timeout)?;
            if self.keep_event(&message) {
                continue;
            }
            // An answer to a command that was given up on earlier.
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                continue;
            }
            if let Some(error) = message.get("error") {
                let description = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(QmpError::Refused { command: command.into(), description: description.into() });
            }
            return match message.get_mut("return") {
                Some(value) => Ok(value.take()),
                None => Err(QmpError::Malformed(message.to_string())),
            };
        }
    }

    fn keep_event(&mut self, message: &Value) -> bool {
        let Some(name) = message.get("event").and_then(Value::as_str) else {
            return false;
        };
        if self.events.len() == EVENTS_KEPT {
            self.events.pop_front();
        }
        let data = message.get("data").cloned().unwrap_or(Value::Null);
        self.events.push_back(Event { name: name.into(), data });
        true
    }

    fn read_message(&mut self, deadline: Instant, what: &str, timeout: Duration) -> Result<Value, QmpError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map_err(|_| QmpError::Malformed(String::from_utf8_lossy(&line).trim_end().into()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(QmpError::Silent { command: what.into(), timeout });
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(QmpError::Closed),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(QmpError::Closed),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(QmpError::Silent { command: what.into(), timeout });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::thread;

    const SECOND: Duration = Duration::from_secs(1);

    /// Plays QEMU: greets, accepts the negotiation, then answers each line by `script`.
    fn with_peer(script: impl Fn(&Value) -> String + Send + 'static, test: impl FnOnce(&mut Qmp)) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = thread::spawn(move || {
            let mut writer = theirs.try_clone().unwrap();
            writeln!(writer, r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#).unwrap();
            for line in BufReader::new(theirs).lines().map_while(Result::ok) {
                let request: Value = serde_json::from_str(&line).unwrap();
                let answer = if request["execute"] == "qmp_capabilities" {
                    json!({"return": {}, "id": request["id"]}).to_string() + "\n"
                } else {
                    script(&request)
                };
                if writer.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        });
        let mut qmp = Qmp::negotiate(ours, SECOND).unwrap();
        test(&mut qmp);
        drop(qmp);
        peer.join().unwrap();
    }

    #[test]
    fn events_between_question_and_answer_are_kept() {
        with_peer(
            |request| {
                let event = r#"{"event": "STOP", "data": {"n": 1}, "timestamp": {}}"#;
                format!("{event}\r\n{}\n", json!({"return": {"status": "paused"}, "id": request["id"]}))
            },
            |qmp| {
                let status = qmp.execute("query-status", json!({}), SECOND).unwrap();
                assert_eq!(status["status"], "paused");
                let event = qmp.wait_event("STOP", SECOND, |event| event.name == "STOP").unwrap();
                assert_eq!(event.data["n"], 1);
                qmp.execute("query-status", json!({}), SECOND).unwrap();
                qmp.forget_events("STOP");
                let short = Duration::from_millis(20);
                assert!(qmp.wait_event("STOP", short, |event| event.name == "STOP").is_err());
            },
        );
    }

    #[test]
    fn a_refusal_carries_the_words_of_qemu() {
        with_peer(
            |request| {
                json!({"error": {"class": "GenericError", "desc": "no"}, "id": request["id"]}).to_string()
                    + "\n"
            },
            |qmp| {
                let error = qmp.execute("migrate", json!({}), SECOND).unwrap_err();
                assert!(matches!(error, QmpError::Refused { description, .. } if description == "no"));
            },
        );
    }

    #[test]
    fn silence_and_closing_are_told_apart() {
        with_peer(
            |_| String::new(),
            |qmp| {
                let error = qmp.execute("stop", json!({}), Duration::from_millis(30)).unwrap_err();
                assert!(matches!(error, QmpError::Silent { .. }), "{error}");
            },
        );
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(Qmp::negotiate(ours, SECOND).unwrap_err(), QmpError::Closed));
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_one() {
        with_peer(
            |request| {
                if request["execute"] == "first" {
                    return String::new();
                }
                let late = json!({"return": "late", "id": 2});
                format!("{late}\n{}\n", json!({"return": "right", "id": request["id"]}))
            },
            |qmp| {
                qmp.execute("first", json!({}), Duration::from_millis(30)).unwrap_err();
                assert_eq!(qmp.execute("second", json!({}), SECOND).unwrap(), "right");
            },
        );
    }

    #[test]
    fn something_else_than_qmp_is_said_to_be() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        let error = Qmp::negotiate(ours, SECOND).unwrap_err();
        assert!(matches!(error, QmpError::Malformed(text) if text.contains("SSH")));
    }
}
