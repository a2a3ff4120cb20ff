//! The way to a lab that runs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::place::{Place, Status};
use crate::wire::{self, Answer, Exited, FRAME_BYTES, Kind, Request};
use crate::{Error, Result, error};

/// How long a lab may take to end.
const DOWN_TIMEOUT: Duration = Duration::from_secs(40);

/// The way to the lab of a place. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    place: Place,
}

/// How a command in the lab ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
    /// Its time limit passed.
    TimedOut,
}

impl Outcome {
    /// The exit code that a shell would give for it.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
            Self::TimedOut => 124,
        }
    }
}

impl Client {
    /// The way to the lab of `place`, whether or not there is one.
    pub fn new(place: Place) -> Self {
        Self { place }
    }

    /// What the lab says of itself; [`Error::Absent`] where there is none.
    pub fn status(&self) -> Result<Status> {
        match self.ask(&Request::Status, "the question for its status", &mut |_, _| Ok(()))? {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Fails when one of the files that the lab shares has changed on the host since it got them.
    pub fn check_current(&self) -> Result<()> {
        let stale = self.status()?.shared.into_iter().find(|file| !file.is_current());
        stale.map_or(Ok(()), |file| Err(Error::Stale { path: file.source }))
    }

    /// Runs a program in the lab; its output goes to the two writers while it runs.
    pub fn exec(
        &self,
        argv: &[String],
        env: &BTreeMap<String, String>,
        stdin: &[u8],
        timeout: Option<Duration>,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> Result<Outcome> {
        let timeout_ms = timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let request = Request::Exec { argv: argv.to_vec(), env: env.clone(), timeout_ms };
        let mut stream = self.place.connect()?;
        let sent = wire::send_message(&mut stream, &request).and_then(|()| {
            for part in stdin.chunks(FRAME_BYTES) {
                wire::send(&mut stream, Kind::Data, part)?;
            }
            wire::send(&mut stream, Kind::Data, &[])
        });
        let what = "a command";
        sent.map_err(|error| self.lost(what, &error))?;
        let answer = self.answer(&mut stream, what, &mut |kind, content| match kind {
            Kind::Stderr => stderr.write_all(content).and_then(|()| stderr.flush()),
            _ => stdout.write_all(content).and_then(|()| stdout.flush()),
        })?;
        match answer {
            Answer::Exited(Exited::Code(code)) => Ok(Outcome::Exited(code)),
            Answer::Exited(Exited::Signal(signal)) => Ok(Outcome::Signaled(signal)),
            Answer::Exited(Exited::TimedOut) => Ok(Outcome::TimedOut),
            other => Err(unexpected(&other)),
        }
    }

    /// Copies `size_bytes` bytes from `source` to the file `path` of the lab.
    pub fn put(&self, source: &mut dyn Read, size_bytes: u64, path: &str, mode: u32) -> Result<()> {
        let what = "a file on its way in";
        let mut stream = self.place.connect()?;
        let request = Request::Put { path: path.into(), mode, size_bytes };
        wire::send_message(&mut stream, &request).map_err(|error| self.lost(what, &error))?;
        let mut buffer = vec![0; FRAME_BYTES];
        let mut left = size_bytes;
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count =
                source.read(&mut buffer[..wanted]).map_err(error::io("read what goes into the lab"))?;
            if count == 0 {
                let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(error::io("read what goes into the lab")(error));
            }
            if wire::send(&mut stream, Kind::Data, &buffer[..count]).is_err() {
                // Its answer says why it takes no more.
                break;
            }
            left -= count as u64;
        }
        match self.answer(&mut stream, what, &mut |_, _| Ok(()))? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Copies the file `path` of the lab to `target`; gives its mode.
    pub fn get(&self, path: &str, target: &mut dyn Write) -> Result<u32> {
        let request = Request::Get { path: path.into() };
        match self.ask(&request, "a file on its way out", &mut |_, content| target.write_all(content))? {
            Answer::Got(mode) => Ok(mode),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the lab, and returns when nothing of it is left. [`Error::Absent`] where there is none.
    pub fn down(&self) -> Result<()> {
        let pid = match self.status() {
            Ok(status) => status.owner_pid,
            Err(Error::Absent) => {
                // The socket that a killed owner left goes with the lock.
                drop(self.place.hold()?);
                return Err(Error::Absent);
            }
            Err(error) => return Err(error),
        };
        self.ask(&Request::Down, "its end", &mut |_, _| Ok(()))?;
        let deadline = Instant::now() + DOWN_TIMEOUT;
        loop {
            // The lock is free when the owner has ended, and it ends last.
            match self.place.hold() {
                Ok(held) => {
                    drop(held);
                    return Ok(());
                }
                Err(Error::Busy { .. }) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10))
                }
                Err(Error::Busy { .. }) => {
                    let reason = format!("its owner, process {pid}, does not end");
                    return Err(Error::Refused(format!("cannot end the lab: {reason}")));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn ask(
        &self,
        request: &Request,
        what: &str,
        take: &mut dyn FnMut(Kind, &[u8]) -> io::Result<()>,
    ) -> Result<Answer> {
        let mut stream = self.place.connect()?;
        wire::send_message(&mut stream, request).map_err(|error| self.lost(what, &error))?;
        self.answer(&mut stream, what, take)
    }

    /// Takes frames until one ends the request.
    fn answer(
        &self,
        stream: &mut UnixStream,
        what: &str,
        take: &mut dyn FnMut(Kind, &[u8]) -> io::Result<()>,
    ) -> Result<Answer> {
        loop {
            match wire::receive(stream) {
                Ok(Some((Kind::Message, content))) => {
                    return match wire::parse(&content).map_err(|error| self.lost(what, &error))? {
                        Answer::Failed(reason) => Err(Error::Refused(reason)),
                        Answer::Ended(reason) => {
                            Err(Error::Lost { request: what.into(), reason, log: self.place.log() })
                        }
                        answer => Ok(answer),
                    };
                }
                Ok(Some((kind, content))) => {
                    take(kind, &content).map_err(error::io("write what came from the lab"))?;
                }
                Ok(None) => return Err(self.lost(what, &io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Err(self.lost(what, &error)),
            }
        }
    }

    fn lost(&self, request: &str, error: &io::Error) -> Error {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "its owner is gone".into()
            }
            _ => error.to_string(),
        };
        Error::Lost { request: request.into(), reason, log: self.place.log() }
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::Refused(format!("the lab answered something else than it was asked: {answer:?}"))
}
