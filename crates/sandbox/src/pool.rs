//! Machines that were restored beforehand and wait, paused.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Machine, MachineState};

use crate::admission::Reservation;
use crate::api::SandboxId;
use crate::kept::Kept;
use crate::templates::Subject;

/// The pause after a first failure to make one; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// How often the maker looks whether it may go on.
const CHECK: Duration = Duration::from_millis(20);

/// One that waits. Dropped in this order.
pub(crate) struct Warm {
    pub(crate) id: SandboxId,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) subject: Subject,
    pub(crate) origin: Arc<Kept>,
    pub(crate) reservation: Reservation,
}

/// Those that wait.
pub(crate) struct Pool {
    target: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Warm>,
    failures: u32,
    pause_until: Option<Instant>,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(target: u32) -> Self {
        Self { target: target as usize, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(crate) fn ready(&self) -> usize {
        self.lock().ready.len()
    }

    /// One that is made as `subject` says.
    pub(crate) fn take(&self, subject: &Subject) -> Option<Warm> {
        let mut state = self.lock();
        let position = state.ready.iter().position(|warm| warm.subject == *subject)?;
        let warm = state.ready.remove(position);
        drop(state);
        self.changed.notify_all();
        warm
    }

    /// Any one, for its room.
    pub(crate) fn pop(&self) -> Option<Warm> {
        let warm = self.lock().ready.pop_front();
        self.changed.notify_all();
        warm
    }

    /// Waits until there should be one more and `may_go_on`; `false` once it is closed.
    pub(crate) fn wait_lack(&self, may_go_on: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if state.closed {
                return false;
            }
            let lacks = state.ready.len() < self.target;
            let paused = state.pause_until.is_some_and(|until| Instant::now() < until);
            if lacks && !paused && may_go_on() {
                return true;
            }
            state = if lacks {
                self.changed.wait_timeout(state, CHECK).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// One more waits, unless there is no pool any more.
    pub(crate) fn put(&self, warm: Warm) {
        let mut state = self.lock();
        state.failures = 0;
        if !state.closed {
            state.ready.push_back(warm);
        }
    }

    /// One could not be made.
    pub(crate) fn failed(&self) {
        let mut state = self.lock();
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(LAST_PAUSE);
        state.failures += 1;
        state.pause_until = Some(Instant::now() + pause);
    }

    /// Takes out those that have ended by themselves, and those that are not made as `subject` says.
    pub(crate) fn sift(&self, subject: &Subject) -> Vec<Warm> {
        let mut state = self.lock();
        let is_good = |warm: &Warm| warm.subject == *subject && warm.machine.state() == MachineState::Paused;
        let (alive, dead): (VecDeque<_>, VecDeque<_>) = state.ready.drain(..).partition(is_good);
        state.ready = alive;
        drop(state);
        if !dead.is_empty() {
            self.changed.notify_all();
        }
        dead.into()
    }

    /// Makes no more, and gives those that there are.
    pub(crate) fn close(&self) -> Vec<Warm> {
        let mut state = self.lock();
        state.closed = true;
        let ready = state.ready.drain(..).collect();
        drop(state);
        self.changed.notify_all();
        ready
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
