//! Keeps a lab beyond the life of the command that started it, and does what other commands ask of it.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_host::rundir::RunDir;
use virtmark_host::signals::Interrupt;
use virtmark_hypervisor::{Cancel, Command, Error as MachineError, ExecStatus, GuestLink, OutputStream};

use crate::machine::{Lab, LabOptions};
use crate::place::{Copied, Held, Place, Status};
use crate::wire::{self, Answer, Exited, FRAME_BYTES, Kind, Request};
use crate::{Result, error};

/// How often the owner looks whether it is to end.
const PACE: Duration = Duration::from_millis(50);

/// A lab with its place, which answers until it is ended.
pub struct Owner {
    lab: Lab,
    held: Held,
    shared: Arc<Shared>,
}

/// What the threads that answer have in common.
struct Shared {
    guest: Arc<dyn GuestLink>,
    ready_at: Instant,
    lifetime: Duration,
    status: Status,
    down: AtomicBool,
}

impl Owner {
    /// Becomes the one lab of `place`, and starts it. It ends by itself after `lifetime`.
    pub fn start(
        place: &Place,
        options: &LabOptions,
        lifetime: Duration,
        run_dir: Arc<RunDir>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let started = Instant::now();
        let held = place.hold()?;
        let copied = options.shared.iter().map(|file| Copied::of(&file.source, &file.path));
        let status = Status {
            owner_pid: std::process::id(),
            up_ms: 0,
            remaining_ms: 0,
            start_ms: 0,
            vcpus: options.vcpus,
            memory_bytes: options.memory_bytes,
            shared: copied.collect::<Result<_>>()?,
        };
        let lab = Lab::start(options, run_dir, progress)?;
        let status = Status { start_ms: millis(started.elapsed()), ..status };
        let shared = Shared {
            guest: lab.guest(),
            ready_at: Instant::now(),
            lifetime,
            status,
            down: AtomicBool::new(false),
        };
        Ok(Self { lab, held, shared: Arc::new(shared) })
    }

    /// Answers until somebody ends the lab, its time is over, `interrupt` asks for it, or it ended by itself; that is
    /// told by the line that comes back. `ready` is called when the first request can come. Nothing of the lab is left
    /// then.
    pub fn serve(mut self, interrupt: &Interrupt, ready: impl FnOnce()) -> Result<String> {
        let listener = self.held.listen()?;
        listener.set_nonblocking(true).map_err(error::io("serve the lab"))?;
        ready();
        let why = loop {
            if self.shared.down.load(Ordering::Acquire) {
                break "ended by request".to_owned();
            }
            if self.shared.ready_at.elapsed() >= self.shared.lifetime {
                break format!("ended after its {:?}", self.shared.lifetime);
            }
            if let Some(name) = interrupt.signal_name() {
                break format!("ended by {name}");
            }
            if !self.lab.runs() {
                break format!("the machine ended by itself; its console: {}", self.lab.console_tail());
            }
            match listener.accept() {
                Ok((stream, _)) => self.shared.answer_in_thread(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    interrupt.wait_timeout(PACE);
                }
                Err(error) => return Err(error::io("serve the lab")(error)),
            }
        };
        drop(listener);
        // The socket goes first, so that nobody waits for an answer of a machine that ends.
        drop(self.held);
        self.lab.end()?;
        Ok(why)
    }
}

impl Shared {
    fn answer_in_thread(self: &Arc<Self>, stream: UnixStream) {
        let shared = Arc::clone(self);
        let answered = thread::Builder::new().name("lab-request".into()).spawn(move || {
            let mut stream = stream;
            // A command that has gone away needs no answer.
            let _ = stream.set_nonblocking(false).and_then(|()| shared.answer(&mut stream));
        });
        if let Err(error) = answered {
            eprintln!("cannot answer a request: {error}");
        }
    }

    fn answer(&self, stream: &mut UnixStream) -> io::Result<()> {
        let Some((Kind::Message, content)) = wire::receive(stream)? else { return Ok(()) };
        let answer = match wire::parse(&content) {
            Ok(Request::Down) => {
                self.down.store(true, Ordering::Release);
                Answer::Done
            }
            Ok(Request::Exec { argv, env, timeout_ms }) => {
                let mut command = Command::argv(argv);
                command.env = env;
                command.timeout = timeout_ms.map(Duration::from_millis);
                command.stdin = stdin(stream)?;
                let cancel = Cancel::new();
                command.cancel = Some(cancel.clone());
                let watcher = watch(stream.try_clone()?, cancel)?;
                let answer = self.exec(&command, stream);
                // Ends the watcher's reading. Whoever asked is only written to from now on.
                let _ = stream.shutdown(Shutdown::Read);
                let _ = watcher.join();
                answer?
            }
            Ok(Request::Get { path }) => {
                let mut file = Frames(stream);
                answer_of(self.guest.get(&path, &mut file).map(Answer::Got))
            }
            Ok(Request::Put { path, mode, size_bytes }) => {
                let mut file = Content { stream, buffer: Vec::new(), at: 0 };
                answer_of(self.guest.put(&mut file, size_bytes, &path, mode).map(|()| Answer::Done))
            }
            Ok(Request::Status) => Answer::Status(self.status()),
            Err(error) => Answer::Failed(format!(
                "the owner of the lab is of another build: end it with `virtmark lab down` ({error})"
            )),
        };
        wire::send_message(stream, &answer)
    }

    /// Runs a command; when nobody waits for it any more, it is killed.
    fn exec(&self, command: &Command, stream: &mut UnixStream) -> io::Result<Answer> {
        let mut handle = match self.guest.spawn(command) {
            Ok(handle) => handle,
            Err(error) => return Ok(answer_of(Err(error))),
        };
        loop {
            let chunk = match handle.next_output() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Ok(answer_of(Err(error))),
            };
            let kind = match chunk.stream {
                OutputStream::Stderr => Kind::Stderr,
                OutputStream::Stdout => Kind::Stdout,
            };
            for part in chunk.data.chunks(FRAME_BYTES) {
                if let Err(error) = wire::send(stream, kind, part) {
                    // Nobody hears of it when that fails.
                    let _ = handle.kill();
                    return Err(error);
                }
            }
        }
        Ok(answer_of(handle.wait().map(|(status, _)| {
            Answer::Exited(match status {
                ExecStatus::Exited(code) => Exited::Code(code),
                ExecStatus::Signaled(signal) => Exited::Signal(signal),
                ExecStatus::TimedOut => Exited::TimedOut,
            })
        })))
    }

    fn status(&self) -> Status {
        let up = self.ready_at.elapsed();
        let remaining_ms = millis(self.lifetime.saturating_sub(up));
        Status { up_ms: millis(up), remaining_ms, ..self.status.clone() }
    }
}

/// Gives the command up when the other end of its connection, which has nothing more to say, closes.
fn watch(mut stream: UnixStream, cancel: Cancel) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("lab-watch".into()).spawn(move || {
        // Anything else than the end is not how a lab is spoken to.
        let _ = stream.read(&mut [0]);
        cancel.cancel();
    })
}

fn answer_of(result: Result<Answer, MachineError>) -> Answer {
    result.unwrap_or_else(|error| match error {
        MachineError::AgentLost { reason, .. } => Answer::Ended(reason),
        MachineError::GuestPanic { .. } | MachineError::VmmExited { .. } => Answer::Ended(error.to_string()),
        _ => Answer::Failed(error.to_string()),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Standard input, whole, up to the empty frame.
fn stdin(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    while let Some((Kind::Data, content)) = wire::receive(stream)? {
        if content.is_empty() {
            return Ok(input);
        }
        input.extend(content);
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Writes what it gets as frames.
struct Frames<'a>(&'a mut UnixStream);

impl io::Write for Frames<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(FRAME_BYTES)];
        wire::send(self.0, Kind::Data, part)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the content of frames.
struct Content<'a> {
    stream: &'a mut UnixStream,
    buffer: Vec<u8>,
    at: usize,
}

impl io::Read for Content<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.len() {
            match wire::receive(self.stream)? {
                Some((Kind::Data, content)) => (self.buffer, self.at) = (content, 0),
                _ => return Ok(0),
            }
        }
        let count = target.len().min(self.buffer.len() - self.at);
        target[..count].copy_from_slice(&self.buffer[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
