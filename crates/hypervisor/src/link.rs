//! The host's end of the link to the agent: one byte stream, many requests at once.
//!
//! A thread reads the stream and never waits for anything else: how much an agent may send for a request is granted by
//! whoever consumes it, so that a slow consumer holds up neither the others nor the thread.

mod asked;
mod exec;
mod files;
mod pending;
mod shared;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use virtmark_protocol::Request;
pub use virtmark_protocol::{INIT_MARK, PORT_NAME};

use self::asked::Asked;
use self::pending::{Answer, Pending};
use self::shared::{Shared, State};
use crate::{Command, Error, ExecHandle, GuestClock, GuestFacts, GuestLink, Identity, Result};

/// Gives the end of a machine's console output, for errors.
pub type ConsoleTail = Arc<dyn Fn() -> String + Send + Sync>;

/// How long the agent may take for what it answers at once.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the first repetition of a hello waits; each later one waits twice as long.
const FIRST_REPEAT: Duration = Duration::from_millis(50);

/// The longest pause between hellos.
const LAST_REPEAT: Duration = Duration::from_secs(1);

/// How often the reasons to stop waiting are asked for.
const STOP_CHECK: Duration = Duration::from_millis(10);

/// How long a machine whose link closed may take to show why.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The link to the agent of one machine. Dropping it closes it, which ends the agent's session.
pub struct AgentLink {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

/// When the agent was heard, on the host's clock, as the reading thread saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyEvents {
    /// The agent's first frame was complete.
    pub first_frame_at: Instant,
    /// The agent has opened a session for this link.
    pub connected_at: Instant,
}

impl AgentLink {
    /// Takes one end of a stream socket whose other end is, or will be, the agent's line; `machine` and `console` are
    /// for messages. To be called before the guest runs: a first hello is sent at once and waits there for the agent,
    /// and the agent's first frame is seen the moment it comes.
    pub fn connect(
        stream: impl Into<OwnedFd>,
        machine: impl Into<String>,
        console: ConsoleTail,
    ) -> Result<Self> {
        let machine = machine.into();
        let action = format!("connect to the agent in {machine}");
        let shared = Shared::new(stream.into(), machine, console).map_err(Error::io(&*action))?;
        let reader = thread::Builder::new()
            .name("virtmark-link".into())
            .spawn({
                let shared = shared.clone();
                move || shared.read_all()
            })
            .map_err(Error::io(&*action))?;
        let link = Self { shared, reader: Some(reader) };
        link.shared.hello().map_err(|reason| link.lost(&Asked::hello(), reason))?;
        Ok(link)
    }

    /// Waits for the agent of a guest that boots. Fails with [`Error::GuestSilent`] at the deadline, with
    /// [`Error::AgentLost`] when the stream closes, with [`Error::AgentRefused`] when the agent is of another version.
    pub fn wait_ready(&self, deadline: Instant) -> Result<ReadyEvents> {
        self.wait_ready_unless(deadline, &|| None)
    }

    /// Like [`wait_ready`](Self::wait_ready), and fails early with what `stop` gives: the platform knows why a guest
    /// will never answer.
    pub fn wait_ready_unless(
        &self,
        deadline: Instant,
        stop: &dyn Fn() -> Option<Error>,
    ) -> Result<ReadyEvents> {
        self.wait_hello(deadline, stop, None)
    }

    /// Waits for the agent of a guest that was restored. It runs already and announces nothing, so the hello is
    /// repeated until it is answered; how a line that was cut in the middle of a frame recovers is the agent's part.
    pub fn reconnect(&self, deadline: Instant) -> Result<ReadyEvents> {
        self.reconnect_unless(deadline, &|| None)
    }

    /// Like [`reconnect`](Self::reconnect), and fails early with what `stop` gives.
    pub fn reconnect_unless(
        &self,
        deadline: Instant,
        stop: &dyn Fn() -> Option<Error>,
    ) -> Result<ReadyEvents> {
        self.wait_hello(deadline, stop, Some(Instant::now() + FIRST_REPEAT))
    }

    /// When the agent opened a session for this link, if it has.
    pub fn first_answer(&self) -> Option<Instant> {
        self.shared.state().events.map(|events| events.connected_at)
    }

    /// Closes the link. Requests that wait fail with [`Error::AgentLost`]; later ones do at once.
    pub fn close(&self) {
        self.shared.close("the link was closed".into());
    }

    /// Tells the agent that this end has nothing more to say, and waits until the other end is closed: whoever held it
    /// has ended. `false` when it is still open after `timeout`.
    pub fn hang_up(&self, timeout: Duration) -> bool {
        self.shared.hang_up();
        let deadline = Instant::now() + timeout;
        while self.shared.closed().is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.shared.wait_closed(left);
        }
        true
    }

    fn wait_hello(
        &self,
        deadline: Instant,
        stop: &dyn Fn() -> Option<Error>,
        mut repeat_at: Option<Instant>,
    ) -> Result<ReadyEvents> {
        let asked = Asked::hello();
        let started = Instant::now();
        let mut pause = FIRST_REPEAT;
        loop {
            match &*self.shared.state() {
                State { events: Some(events), .. } => return Ok(*events),
                State { refused: Some(reason), .. } => return Err(self.refused(&asked, reason.clone())),
                State { first_frame_at: Some(at), .. } if repeat_at.is_none() => {
                    repeat_at = Some(*at + FIRST_REPEAT);
                }
                _ => {}
            }
            if let Some(error) = stop() {
                return Err(error);
            }
            if let Some(reason) = self.shared.closed() {
                let grace = Instant::now() + STOP_GRACE;
                while Instant::now() < grace.min(deadline) {
                    if let Some(error) = stop() {
                        return Err(error);
                    }
                    thread::sleep(STOP_CHECK);
                }
                return Err(self.lost(&asked, reason));
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::GuestSilent {
                    machine: self.shared.machine.clone(),
                    timeout: deadline.saturating_duration_since(started),
                    console: self.shared.console(),
                });
            }
            if repeat_at.is_some_and(|at| at <= now) {
                // A failure shows as a closed link in the next round.
                let _ = self.shared.hello();
                repeat_at = Some(now + pause);
                pause = (pause * 2).min(LAST_REPEAT);
            }
            self.shared.wait_change(STOP_CHECK.min(deadline - now));
        }
    }

    /// Like [`GuestLink::shutdown`], for whoever has only so long to wait for the guest's word.
    pub fn shutdown_within(&self, timeout: Duration) -> Result<()> {
        let asked = Asked::shutdown();
        match self.ask(asked.clone(), &Request::Shutdown, timeout.min(REPLY_TIMEOUT))? {
            Answer::ShuttingDown => Ok(()),
            other => Err(self.lost(&asked, other.unexpected())),
        }
    }

    /// Sets the guest's wall clock to the host's. A guest that stood still is behind by that.
    pub fn set_clock(&self) -> Result<()> {
        let asked = Asked::set_clock();
        let realtime_ns = crate::identity::realtime_ns()?;
        match self.ask(asked.clone(), &Request::SetClock { realtime_ns }, REPLY_TIMEOUT)? {
            Answer::ClockSet => Ok(()),
            other => Err(self.lost(&asked, other.unexpected())),
        }
    }

    /// Sends a request that one answer ends, and waits for that.
    fn ask(&self, asked: Asked, request: &Request<'_>, timeout: Duration) -> Result<Answer> {
        let mut pending = Pending::open(&self.shared, asked)?;
        pending.send(request)?;
        let answer = pending.next(Some(timeout))?;
        pending.finish();
        Ok(answer)
    }

    fn lost(&self, asked: &Asked, reason: String) -> Error {
        self.shared.lost(asked, reason)
    }

    fn refused(&self, asked: &Asked, reason: String) -> Error {
        self.shared.refused(asked, reason)
    }
}

impl GuestLink for AgentLink {
    fn spawn(&self, command: &Command) -> Result<Box<dyn ExecHandle>> {
        Ok(Box::new(exec::start(&self.shared, command)?))
    }

    fn put(&self, source: &mut dyn std::io::Read, size: u64, path: &str, mode: u32) -> Result<()> {
        files::put(&self.shared, source, size, path, mode)
    }

    fn get(&self, path: &str, target: &mut dyn std::io::Write) -> Result<u32> {
        files::get(&self.shared, path, target)
    }

    fn facts(&self) -> Result<GuestFacts> {
        if let Some(facts) = self.shared.state().facts.clone() {
            return Ok(facts);
        }
        self.reconnect(Instant::now() + REPLY_TIMEOUT)?;
        let facts = self.shared.state().facts.clone();
        facts.ok_or_else(|| self.lost(&Asked::hello(), "it said nothing of itself".into()))
    }

    fn clock(&self) -> Result<GuestClock> {
        let asked = Asked::clock();
        match self.ask(asked.clone(), &Request::Clock, REPLY_TIMEOUT)? {
            Answer::Clock(clock) => Ok(clock),
            other => Err(self.lost(&asked, other.unexpected())),
        }
    }

    fn personalize(&self, identity: &Identity) -> Result<()> {
        let asked = Asked::personalize();
        let request = Request::Personalize {
            hostname: &identity.hostname,
            machine_id: identity.machine_id,
            entropy: &identity.entropy,
            realtime_ns: identity.realtime_ns,
        };
        match self.ask(asked.clone(), &request, REPLY_TIMEOUT)? {
            Answer::Personalized => Ok(()),
            other => Err(self.lost(&asked, other.unexpected())),
        }
    }

    fn shutdown(&self) -> Result<()> {
        self.shutdown_within(REPLY_TIMEOUT)
    }
}

impl Drop for AgentLink {
    fn drop(&mut self) {
        self.close();
        if let Some(reader) = self.reader.take() {
            // It cannot panic with anything to tell: its state is poisoned then, and every request says so.
            let _ = reader.join();
        }
    }
}
