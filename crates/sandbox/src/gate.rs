//! What is being worked on, and the end of taking work.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{Error, Result};

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A sandbox.
    Create,
    /// Something that a sandbox does.
    Use,
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    draining: bool,
    creating: usize,
    using: usize,
}

impl State {
    fn count(&mut self, work: Work) -> &mut usize {
        match work {
            Work::Create => &mut self.creating,
            Work::Use => &mut self.using,
        }
    }
}

impl Gate {
    /// Lets work in until the gate is closed.
    pub(crate) fn enter(&self, work: Work) -> Result<Pass<'_>> {
        let mut state = self.lock();
        if state.draining {
            return Err(Error::Draining);
        }
        *state.count(work) += 1;
        Ok(Pass { gate: self, work })
    }

    /// Lets no more work in. Gives whether it was open.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut self.lock().draining, true)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Whether somebody waits for a sandbox.
    pub(crate) fn is_creating(&self) -> bool {
        self.lock().creating > 0
    }

    /// Waits until nothing is being worked on; `false` when it still is at the deadline.
    pub(crate) fn wait_idle(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        loop {
            if state.creating + state.using == 0 {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work on its way.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    work: Work,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.gate.lock().count(self.work) -= 1;
        self.gate.changed.notify_all();
    }
}
