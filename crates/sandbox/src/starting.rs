//! Machines whose guests are waited for, so that the end of the service need not wait for them too.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use virtmark_host::process::kill_children_named;

use crate::api::SandboxId;
use crate::{Error, Result};

/// Between two looks for VMMs that were being launched at the last one.
const AGAIN: Duration = Duration::from_millis(20);

/// The machines of a service that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Starting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeSet<SandboxId>,
    closed: bool,
}

impl Starting {
    /// This machine is being started, until the result is dropped.
    pub(crate) fn begin(&self, id: &SandboxId) -> Result<Start<'_>> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Draining);
        }
        state.names.insert(id.clone());
        Ok(Start { of: self, id: id.clone() })
    }

    /// Whether no more machines are started.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Lets no more begin, and ends the VMMs of those that have: whoever waits for one learns that it is gone. Waits for
    /// that until `deadline`.
    pub(crate) fn cut(&self, deadline: Instant) {
        let mut state = self.lock();
        state.closed = true;
        while !state.names.is_empty() && Instant::now() < deadline {
            let names = state.names.clone();
            drop(state);
            for name in &names {
                kill_children_named(name.as_str());
            }
            state = self.changed.wait_timeout(self.lock(), AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine on its way.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    of: &'a Starting,
    id: SandboxId,
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        self.of.lock().names.remove(&self.id);
        self.of.changed.notify_all();
    }
}
