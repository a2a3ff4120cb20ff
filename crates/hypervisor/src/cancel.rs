//! Giving up what somebody else waits for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells whoever waits for something, from any thread, that nobody wants it any more. Clones are one and the same.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    next: u64,
    hearers: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
}

impl Cancel {
    /// Nothing is given up yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives it up. Those who are to hear of it are called on this thread; a second time does nothing.
    pub fn cancel(&self) {
        let hearers = {
            let mut state = self.state();
            state.is_cancelled = true;
            std::mem::take(&mut state.hearers)
        };
        hearers.into_values().for_each(|hear| hear());
    }

    /// Whether it was given up.
    pub fn is_cancelled(&self) -> bool {
        self.state().is_cancelled
    }

    /// Has `hear` called once when it is given up, at once if it was already, until the result is dropped. It must not
    /// wait for anything: whoever gives up waits for it.
    pub fn on_cancel(&self, hear: impl FnOnce() + Send + 'static) -> Hearing {
        let mut state = self.state();
        let key = state.next;
        state.next += 1;
        if state.is_cancelled {
            drop(state);
            hear();
        } else {
            state.hearers.insert(key, Box::new(hear));
        }
        Hearing { of: self.clone(), key }
    }

    /// No code of others runs under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

/// Somebody hears of a [`Cancel`] while this lives. A call that has begun goes on after it is dropped.
#[must_use = "dropping it ends the hearing"]
pub struct Hearing {
    of: Cancel,
    key: u64,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        let heard = self.of.state().hearers.remove(&self.key);
        // What it holds is dropped outside of the lock.
        drop(heard);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn everybody_who_still_listens_hears_once() {
        let (cancel, calls) = (Cancel::new(), Arc::new(AtomicU32::new(0)));
        let hear = |weight| {
            let calls = calls.clone();
            move || {
                calls.fetch_add(weight, Ordering::SeqCst);
            }
        };
        let _first = cancel.on_cancel(hear(1));
        let _second = cancel.clone().on_cancel(hear(10));
        drop(cancel.on_cancel(hear(100)));
        assert!(!cancel.is_cancelled());
        cancel.cancel();
        cancel.cancel();
        assert!(cancel.is_cancelled());
        assert_eq!(calls.load(Ordering::SeqCst), 11);
        let _late = cancel.on_cancel(hear(1000));
        assert_eq!(calls.load(Ordering::SeqCst), 1011);
    }

    #[test]
    fn whoever_hears_may_ask_and_listen_again() {
        let cancel = Cancel::new();
        let (same, seen) = (cancel.clone(), Arc::new(AtomicU32::new(0)));
        let count = seen.clone();
        let _hearing = cancel.on_cancel(move || {
            assert!(same.is_cancelled());
            let _again = same.on_cancel(move || count.store(1, Ordering::SeqCst));
        });
        cancel.cancel();
        assert_eq!(seen.load(Ordering::SeqCst), 1);
    }
}
