//! The poll loop: requests in, replies out, commands and files in between.

mod requests;

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use virtmark_protocol::{CHUNK_BYTES, NO_SESSION, Reply};

use crate::exec::{BaseEnvironment, Running};
use crate::files::{Incoming, Outgoing};
use crate::line::{Line, Received, read_again};
use crate::reap::Reaper;

/// How long a sender may pause within a frame before the line is searched for what a successor of it sent.
const INTERRUPTED_AFTER: Duration = Duration::from_millis(20);

/// How often a line whose host is not connected is looked at.
const RECONNECT_EVERY: Duration = Duration::from_millis(2);

/// Why serving a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The line has ended for good.
    LineEnded,
    /// The host asked the guest to power off.
    Shutdown,
    /// A signal asked the agent to end.
    Terminated,
}

/// What the agent knows of itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) kernel: String,
    pub(crate) init_started_ns: u64,
    pub(crate) ready_ns: u64,
    pub(crate) is_init: bool,
}

/// Serves one line.
pub(crate) struct Server<'a> {
    line: Line,
    reaper: &'a mut Reaper,
    identity: &'a Identity,
    base: &'a BaseEnvironment,
    session: u64,
    running: Vec<Running>,
    incoming: Vec<Incoming>,
    outgoing: Vec<Outgoing>,
    /// One chunk of output or file content on its way through.
    chunk: Vec<u8>,
    connected: bool,
    finished: Option<Finished>,
}

impl<'a> Server<'a> {
    /// Serves `line`, on which [`Reply::Ready`] was sent.
    pub(crate) fn new(
        line: Line,
        reaper: &'a mut Reaper,
        identity: &'a Identity,
        base: &'a BaseEnvironment,
    ) -> Self {
        Self {
            line,
            reaper,
            identity,
            base,
            session: NO_SESSION,
            running: Vec::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
            connected: true,
            finished: None,
        }
    }

    /// Serves until the line ends or the host has enough. Nothing that was asked for on this line runs afterwards.
    pub(crate) fn run(mut self) -> Finished {
        let finished = loop {
            if let Some(finished) = self.finished {
                break finished;
            }
            if self.step().is_err() {
                break Finished::LineEnded;
            }
        };
        self.end_session();
        finished
    }

    fn step(&mut self) -> io::Result<()> {
        self.send_files()?;
        self.line.flush()?;
        let ready = self.wait()?;
        if self.reaper.terminated() {
            self.finished = Some(Finished::Terminated);
        }
        if ready.line {
            match self.line.receive() {
                Received::Bytes => self.take_frames()?,
                Received::Disconnected => self.connected = false,
                Received::End => self.finished = Some(Finished::LineEnded),
            }
        }
        if ready.interrupted && self.line.decoder.give_up_interrupted() {
            self.take_frames()?;
        }
        self.take_children(&ready.streams)
    }

    /// Waits until something can be done.
    fn wait(&mut self) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&*self.reaper, PollFlags::IN)];
        if self.connected {
            fds.push(PollFd::from_borrowed_fd(self.line.as_fd(), PollFlags::IN));
        }
        let mut watched = Vec::new();
        for running in &self.running {
            for (stream, output) in running.outputs.iter().enumerate() {
                if let Some(output) = output.as_ref().filter(|_| running.credit_bytes > 0) {
                    fds.push(PollFd::new(output, PollFlags::IN));
                    watched.push((running.request, Stream::Output(stream)));
                }
            }
            if let Some(pipe) = running.stdin.pipe.as_ref().filter(|_| running.stdin.is_waiting()) {
                fds.push(PollFd::new(pipe, PollFlags::OUT));
                watched.push((running.request, Stream::Input));
            }
        }
        let awaits_payload = self.line.decoder.awaits_payload();
        match poll(&mut fds, self.timeout(awaits_payload).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let events: Vec<PollFlags> = fds.iter().map(|fd| fd.revents()).collect();
        let line = if self.connected { events[1] } else { PollFlags::empty() };
        let streams = &events[1 + usize::from(self.connected)..];
        let streams = watched
            .into_iter()
            .zip(streams)
            .filter(|(_, events)| !events.is_empty())
            .map(|(watched, _)| watched)
            .collect();
        let host_left =
            self.line.can_reconnect() && line.contains(PollFlags::HUP) && !line.contains(PollFlags::IN);
        let ready = Ready {
            line: !line.is_empty() && !host_left,
            interrupted: awaits_payload && line.is_empty(),
            streams,
        };
        if host_left {
            self.line.disconnected();
            self.connected = false;
        } else {
            self.connected = true;
        }
        Ok(ready)
    }

    /// How long there is nothing to do unless something happens; `None` for ever.
    fn timeout(&self, awaits_payload: bool) -> Option<Timespec> {
        let now = Instant::now();
        let sends = self.outgoing.iter().any(|outgoing| outgoing.credit_bytes > 0);
        let deadlines =
            self.running.iter().filter_map(|running| Some(running.deadline?.saturating_duration_since(now)));
        deadlines
            .chain(sends.then_some(Duration::ZERO))
            .chain((!self.connected).then_some(RECONNECT_EVERY))
            .chain(awaits_payload.then_some(INTERRUPTED_AFTER))
            .min()
            .and_then(|duration| Timespec::try_from(duration).ok())
    }

    /// Sends the next piece of every file whose host is ready to take it.
    fn send_files(&mut self) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let mut at = 0;
        while at < self.outgoing.len() {
            let outgoing = &mut self.outgoing[at];
            if outgoing.credit_bytes == 0 {
                at += 1;
                continue;
            }
            let request = outgoing.request;
            match outgoing.next(&mut chunk) {
                Ok(data @ Reply::GetData(_)) => {
                    at += 1;
                    self.send(request, &data)?;
                }
                Ok(end) => {
                    self.outgoing.remove(at);
                    self.send(request, &end)?;
                }
                Err(failure) => {
                    self.outgoing.remove(at);
                    self.fail(request, &failure)?;
                }
            }
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Moves the output and input of commands, and takes note of those that have ended.
    fn take_children(&mut self, streams: &[(u32, Stream)]) -> io::Result<()> {
        for (request, stream) in streams {
            match stream {
                Stream::Input => {
                    if let Some(running) = self.running.iter_mut().find(|running| running.request == *request)
                    {
                        running.stdin.write();
                    }
                    self.grant_stdin(*request)?;
                }
                Stream::Output(stream) => self.take_output(*request, *stream)?,
            }
        }
        self.reaper.acknowledge();
        while let Some(child) = self.reaper.next() {
            // Others are orphans, or were started for a session that is over.
            let Some(running) =
                self.running.iter_mut().find(|running| running.pid == child.pid && !running.ended)
            else {
                continue;
            };
            let (request, status) = (running.request, running.end(child.status));
            self.grant_stdin(request)?;
            self.send(request, &Reply::Exited { status, resource_use: child.resource_use })?;
        }
        let now = Instant::now();
        let mut at = 0;
        while at < self.running.len() {
            let running = &mut self.running[at];
            let was_open = !running.output_ended();
            running.check_deadline(now);
            if !running.output_ended() || !running.ended {
                at += 1;
            } else {
                let request = running.request;
                self.running.remove(at);
                if was_open {
                    self.send(request, &Reply::OutputEnd)?;
                }
            }
        }
        Ok(())
    }

    fn take_output(&mut self, request: u32, stream: usize) -> io::Result<()> {
        let Some(running) = self.running.iter_mut().find(|running| running.request == request) else {
            return Ok(());
        };
        let room = self.chunk.len().min(running.credit_bytes);
        let Some(output) = running.outputs[stream].as_mut().filter(|_| room > 0) else { return Ok(()) };
        // A pipe that cannot be read has ended, whatever the reason.
        let read = read_again(output, &mut self.chunk[..room]).unwrap_or(0);
        running.credit_bytes -= read;
        if read > 0 {
            let data = &self.chunk[..read];
            let reply = if stream == 0 { Reply::Stdout(data) } else { Reply::Stderr(data) };
            return self.line.send(self.session, request, &reply);
        }
        running.outputs[stream] = None;
        if running.output_ended() {
            return self.send(request, &Reply::OutputEnd);
        }
        Ok(())
    }
}

/// What a wait found.
struct Ready {
    line: bool,
    /// The line was silent in the middle of a frame.
    interrupted: bool,
    streams: Vec<(u32, Stream)>,
}

/// A stream of a command.
#[derive(Clone, Copy)]
enum Stream {
    Input,
    Output(usize),
}
