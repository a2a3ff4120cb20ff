//! What each request does.

use std::io;

use virtmark_protocol::{DecodeError, ErrorKind, Exec, Facts, NO_SESSION, Reply, Request, Status, VERSION};

use super::{Finished, Server};
use crate::exec::{Input, Running, StartError};
use crate::files::{Failure, Incoming, Outgoing, kind_of};
use crate::{clock, identity};

impl Server<'_> {
    pub(super) fn take_frames(&mut self) -> io::Result<()> {
        // Out of the line, so that a frame can be borrowed from it while replies are sent.
        let mut decoder = std::mem::take(&mut self.line.decoder);
        let mut result = Ok(());
        while let Some(frame) = decoder.next_frame() {
            let (session, request) = (frame.header.session, frame.header.request);
            result = if frame.header.version == VERSION {
                self.take_request(session, request, Request::decode(frame.payload))
            } else {
                let message = format!(
                    "read a frame of protocol version {}: this agent speaks version {VERSION}",
                    frame.header.version
                );
                self.line.send(
                    session,
                    request,
                    &Reply::Error { kind: ErrorKind::Version, message: &message },
                )
            };
            if result.is_err() {
                break;
            }
        }
        self.line.decoder = decoder;
        result
    }

    fn take_request(
        &mut self,
        session: u64,
        request: u32,
        message: Result<Request<'_>, DecodeError>,
    ) -> io::Result<()> {
        let message = match message {
            Ok(Request::Hello) => return self.hello(session, request),
            // Of a host that is no longer there.
            _ if session != self.session || session == NO_SESSION => return Ok(()),
            Ok(message) => message,
            Err(error) => {
                return self.refuse(request, ErrorKind::BadRequest, &error.to_string());
            }
        };
        match message {
            Request::Hello => Ok(()),
            Request::Exec(exec) => self.exec(request, &exec),
            Request::Stdin(data) => self.stdin(request, |stdin| stdin.push(data)),
            Request::StdinEnd => self.stdin(request, |stdin| {
                stdin.finish();
                true
            }),
            Request::Credit(bytes) => {
                for running in self.running.iter_mut().filter(|running| running.request == request) {
                    running.credit_bytes += bytes as usize;
                }
                for outgoing in self.outgoing.iter_mut().filter(|outgoing| outgoing.request == request) {
                    outgoing.credit_bytes += bytes as usize;
                }
                Ok(())
            }
            Request::Kill => {
                self.running.iter().filter(|running| running.request == request).for_each(Running::kill);
                Ok(())
            }
            Request::Close => {
                self.close(request);
                Ok(())
            }
            Request::Put { path, mode, size_bytes } => {
                match Incoming::start(request, path, mode, size_bytes) {
                    Ok(incoming) => {
                        self.incoming.push(incoming);
                        Ok(())
                    }
                    Err(failure) => self.fail(request, &failure),
                }
            }
            Request::PutData(data) => {
                // None when it has failed, which the host will learn in time.
                let Some(at) = self.incoming.iter().position(|incoming| incoming.request == request) else {
                    return Ok(());
                };
                match self.incoming[at].write(data) {
                    Ok(()) => Ok(()),
                    Err(failure) => {
                        self.incoming.swap_remove(at);
                        self.fail(request, &failure)
                    }
                }
            }
            Request::PutEnd { crc32c } => {
                let Some(at) = self.incoming.iter().position(|incoming| incoming.request == request) else {
                    return Ok(());
                };
                match self.incoming.swap_remove(at).finish(crc32c) {
                    Ok(()) => self.send(request, &Reply::PutDone),
                    Err(failure) => self.fail(request, &failure),
                }
            }
            Request::Get { path, window_bytes } => match Outgoing::start(request, path, window_bytes) {
                Ok(outgoing) => {
                    let reply = Reply::GetStart { mode: outgoing.mode, size_bytes: outgoing.size_bytes };
                    self.outgoing.push(outgoing);
                    self.send(request, &reply)
                }
                Err(failure) => self.fail(request, &failure),
            },
            Request::Clock => self.send(request, &Reply::Clock(clock::now())),
            Request::Shutdown => {
                self.finished = Some(Finished::Shutdown);
                self.send(request, &Reply::ShuttingDown)?;
                self.line.flush()
            }
            Request::Personalize { hostname, machine_id, entropy, realtime_ns } => {
                let result = if self.identity.is_init {
                    identity::assume(hostname, &machine_id, entropy, realtime_ns)
                } else {
                    Err(Failure {
                        kind: ErrorKind::BadRequest,
                        message: "this agent is not process 1 of a guest: clock and names belong to its host"
                            .into(),
                    })
                };
                match result {
                    Ok(()) => self.send(request, &Reply::Personalized),
                    Err(failure) => self.fail(request, &failure),
                }
            }
            Request::SetClock { realtime_ns } => {
                let set = match self.identity.is_init {
                    true => {
                        clock::set_realtime(realtime_ns).map_err(Failure::of("set the wall clock".into()))
                    }
                    false => Err(Failure {
                        kind: ErrorKind::BadRequest,
                        message: "this agent is not process 1 of a guest: the clock belongs to its host"
                            .into(),
                    }),
                };
                match set {
                    Ok(()) => self.send(request, &Reply::ClockSet),
                    Err(failure) => self.fail(request, &failure),
                }
            }
        }
    }

    fn hello(&mut self, session: u64, request: u32) -> io::Result<()> {
        if session == NO_SESSION {
            return Ok(());
        }
        if session != self.session {
            self.end_session();
            self.session = session;
        }
        let facts = Facts {
            agent_version: env!("CARGO_PKG_VERSION"),
            kernel: &self.identity.kernel,
            init_started_ns: self.identity.init_started_ns,
            ready_ns: self.identity.ready_ns,
            is_init: self.identity.is_init,
        };
        self.line.send(session, request, &Reply::Hello(facts))
    }

    /// Ends everything that was asked for and has not ended.
    pub(super) fn end_session(&mut self) {
        self.running.iter().for_each(Running::kill);
        self.running.clear();
        self.incoming.clear();
        self.outgoing.clear();
    }

    fn exec(&mut self, request: u32, exec: &Exec<'_>) -> io::Result<()> {
        match Running::start(request, exec, self.base) {
            Ok(running) => {
                self.running.push(running);
                Ok(())
            }
            Err(StartError::Result(code, message)) => {
                self.send(request, &Reply::Stderr(message.as_bytes()))?;
                self.send(request, &Reply::OutputEnd)?;
                let (status, resource_use) = (Status::Exited(code), Default::default());
                self.send(request, &Reply::Exited { status, resource_use })
            }
            Err(StartError::Request(error, action)) => {
                self.refuse(request, kind_of(&error), &format!("{action}: {error}"))
            }
        }
    }

    fn stdin(&mut self, request: u32, change: impl FnOnce(&mut Input) -> bool) -> io::Result<()> {
        // None when the command has ended, which the host will learn in time.
        let Some(running) = self.running.iter_mut().find(|running| running.request == request) else {
            return Ok(());
        };
        if !change(&mut running.stdin) {
            self.close(request);
            return self.refuse(request, ErrorKind::BadRequest, "take more standard input than was allowed");
        }
        running.stdin.write();
        self.grant_stdin(request)
    }

    pub(super) fn grant_stdin(&mut self, request: u32) -> io::Result<()> {
        let running = self.running.iter_mut().find(|running| running.request == request);
        match running.map_or(0, |running| running.stdin.take_credit()) {
            0 => Ok(()),
            bytes => self.send(request, &Reply::StdinCredit(bytes)),
        }
    }

    fn close(&mut self, request: u32) {
        self.running.retain(|running| {
            if running.request == request && !running.ended {
                running.kill();
            }
            running.request != request
        });
        self.incoming.retain(|incoming| incoming.request != request);
        self.outgoing.retain(|outgoing| outgoing.request != request);
    }

    pub(super) fn send(&mut self, request: u32, reply: &Reply<'_>) -> io::Result<()> {
        self.line.send(self.session, request, reply)
    }

    pub(super) fn fail(&mut self, request: u32, failure: &Failure) -> io::Result<()> {
        self.refuse(request, failure.kind, &failure.message)
    }

    fn refuse(&mut self, request: u32, kind: ErrorKind, message: &str) -> io::Result<()> {
        self.send(request, &Reply::Error { kind, message })
    }
}
