//! A thread that makes calls over many connections at once.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;

use crate::lane::Lane;
use crate::tally::Slot;
use crate::target::{CallFailure, SLICE};
use crate::window::Window;

/// What one read takes at most.
const BUFFER_BYTES: usize = 64 * 1024;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Longest time between two looks for calls whose time has passed.
const EXPIRE_EVERY: Duration = Duration::from_millis(10);

/// A call under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// When it was due.
    pub(crate) due: Instant,
    /// When it is to be given up.
    pub(crate) limit: Instant,
}

/// Calls that have ended, and how.
pub(crate) type Ended = Vec<(Call, Result<(), CallFailure>)>;

/// A connection to the server, opened when a call needs it.
pub(crate) trait Connection: Send {
    /// How many calls it carries at once.
    fn capacity(&self) -> usize;
    /// Begins a call; it may end at once.
    fn begin(&mut self, call: Call, epoll: &OwnedFd, ended: &mut Ended);
    /// The kernel says that something has changed; `is_ending`: that the server will send no more than is there.
    fn ready(&mut self, is_ending: bool, epoll: &OwnedFd, buffer: &mut [u8], ended: &mut Ended);
    /// Gives up calls whose time has passed.
    fn expire(&mut self, now: Instant, ended: &mut Ended);
}

/// The connections of a thread; a connection's token is its place.
pub(crate) struct HttpLane<C> {
    epoll: OwnedFd,
    connections: Vec<C>,
    /// Places of connections, once for each call that they could begin. The last one used is used next.
    free: Vec<usize>,
    under_way: usize,
    /// A call that waits until it is due.
    waiting: Option<Instant>,
    /// There are no more calls to begin.
    is_last: bool,
    ended: Ended,
    buffer: Box<[u8]>,
}

impl<C: Connection> HttpLane<C> {
    pub(crate) fn new(connections: Vec<C>) -> Result<Self, Errno> {
        let places = connections.iter().enumerate();
        let free = places
            .flat_map(|(place, connection)| std::iter::repeat_n(place, connection.capacity()))
            .collect();
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections,
            free,
            under_way: 0,
            waiting: None,
            is_last: false,
            ended: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into(),
        })
    }

    /// Begins what is due while connections are free for it. A connection that fails at once is used again only after
    /// the others were heard.
    fn begin_due(&mut self, mut now: Instant, window: &Window, slot: &Slot) {
        let mut failed = Vec::new();
        while let Some(&place) = self.free.last() {
            let was_waiting = self.waiting.is_some();
            let Some(due) = self.waiting.take().or_else(|| window.next_due(now)) else {
                self.is_last = true;
                break;
            };
            if due > now {
                self.waiting = Some(due);
                break;
            }
            if now >= window.end() {
                self.is_last = true;
                break;
            }
            if due != now {
                slot.take(due, now, was_waiting);
            }
            self.free.pop();
            self.under_way += 1;
            let call = Call { due, limit: window.limit(now) };
            self.connections[place].begin(call, &self.epoll, &mut self.ended);
            if self.ended.is_empty() {
                // Sending took time; in a closed loop the next call begins after it.
                now = if self.free.is_empty() { now } else { Instant::now() };
            } else {
                now = Instant::now();
                self.count_ended(now, window, slot);
                failed.push(place);
            }
        }
        self.free.append(&mut failed);
    }

    /// Counts the calls that ended; their connections are not free yet.
    fn count_ended(&mut self, now: Instant, window: &Window, slot: &Slot) -> usize {
        let calls = self.ended.len();
        for (call, result) in self.ended.drain(..) {
            slot.end(window, call.due, call.limit, now, result);
        }
        self.under_way -= calls;
        calls
    }

    fn expire(&mut self, now: Instant, window: &Window, slot: &Slot) {
        for place in 0..self.connections.len() {
            self.connections[place].expire(now, &mut self.ended);
            let calls = self.count_ended(now, window, slot);
            self.free.extend(std::iter::repeat_n(place, calls));
        }
    }

    /// Waits for events, until then at most. The kernel's own limit is in milliseconds, which is too coarse for a call
    /// that is due.
    fn wait(&self, events: &mut Vec<epoll::Event>, until: Instant, now: Instant) {
        let mut left = until.saturating_duration_since(now);
        if self.waiting.is_some() && !left.is_zero() {
            let timeout = Timespec::try_from(left).ok();
            let _ = poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], timeout.as_ref());
            left = Duration::ZERO;
        }
        events.clear();
        let timeout = Timespec::try_from(left).ok();
        // An interruption is as good as no event.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref());
    }
}

impl<C: Connection> Lane for HttpLane<C> {
    fn run(&mut self, window: &Window, slot: &Slot) {
        (self.is_last, self.waiting) = (false, None);
        let expire_every = (window.request_timeout / 10).clamp(Duration::from_millis(1), EXPIRE_EVERY);
        let mut events = Vec::with_capacity(EVENTS);
        let mut now = Instant::now();
        let mut expire_at = now + expire_every;
        while now < window.end() && !window.cancel.is_cancelled() {
            self.begin_due(now, window, slot);
            if self.is_last && self.under_way == 0 {
                break;
            }
            let can_begin = !self.is_last && !self.free.is_empty();
            let next = match self.waiting {
                Some(due) => due,
                None if can_begin => now,
                None => now + SLICE,
            };
            self.wait(&mut events, next.min(expire_at).min(window.end()), now);
            for epoll::Event { flags, data } in events.iter().copied() {
                let place = data.u64() as usize;
                let is_ending = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                self.connections[place].ready(is_ending, &self.epoll, &mut self.buffer, &mut self.ended);
                if self.ended.is_empty() {
                    continue;
                }
                now = Instant::now();
                let calls = self.count_ended(now, window, slot);
                self.free.extend(std::iter::repeat_n(place, calls));
                self.begin_due(now, window, slot);
            }
            now = Instant::now();
            if now >= expire_at {
                self.expire(now, window, slot);
                expire_at = now + expire_every;
            }
        }
        // Whatever is still under way is cut off with the window.
        if self.under_way > 0 {
            let end = window.end().max(Instant::now());
            for connection in &mut self.connections {
                connection.expire(end.max(end + window.request_timeout), &mut self.ended);
            }
            self.count_ended(end, window, slot);
        }
        self.free.clear();
        let places = self.connections.iter().enumerate();
        self.free.extend(places.flat_map(|(place, one)| std::iter::repeat_n(place, one.capacity())));
    }
}
