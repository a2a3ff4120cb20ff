//! Where machines wait for each other: until enough are ready, and until one of a few places is free.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use virtmark_hypervisor::Cancel;

/// Opens or stays shut for all at once, when every machine has said whether it is ready.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    need: usize,
}

#[derive(Debug)]
struct State {
    unsettled: usize,
    ready: usize,
}

impl Gate {
    pub(crate) fn new(machines: usize, need: usize) -> Self {
        Self { state: Mutex::new(State { unsettled: machines, ready: 0 }), changed: Condvar::new(), need }
    }

    /// What a machine has until it has said whether it is ready. One that is dropped says no.
    pub(crate) fn ticket(&self) -> Ticket<'_> {
        Ticket { gate: self, is_ready: false }
    }

    fn settle(&self, is_ready: bool) {
        let mut state = self.lock();
        state.unsettled = state.unsettled.saturating_sub(1);
        state.ready += usize::from(is_ready);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether enough machines can still be ready. When not, nobody needs to go on waiting.
    pub(crate) fn is_hopeless(&self) -> bool {
        let state = self.lock();
        state.ready + state.unsettled < self.need
    }

    /// Waits until all have settled; says whether enough are ready.
    pub(crate) fn pass(&self) -> bool {
        let state = self.lock();
        let state = self.changed.wait_while(state, |state| state.unsettled > 0);
        state.unwrap_or_else(PoisonError::into_inner).ready >= self.need
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.lock().ready
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word of one machine that is still to come.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    gate: &'a Gate,
    is_ready: bool,
}

impl Ticket<'_> {
    /// The machine is ready.
    pub(crate) fn ready(mut self) {
        self.is_ready = true;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.gate.settle(self.is_ready);
    }
}

/// A few places, each for one at a time.
#[derive(Debug)]
pub(crate) struct Places {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), changed: Condvar::new() }
    }

    /// Waits for a place; after a stop the places go fast, and nobody needs to be told.
    pub(crate) fn take(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.changed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Place { of: self }
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    of: &'a Places,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.of.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.of.changed.notify_one();
    }
}

/// Waits so long, or until the stop; says whether it was the stop.
pub(crate) fn pause(cancel: &Cancel, time: std::time::Duration) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let _hearing = cancel.on_cancel(move || {
        // Whoever waited may have gone.
        let _ = tell.send(());
    });
    told.recv_timeout(time).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_more_than_the_places_at_a_time() {
        let (places, now, most) = (Places::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    let _place = places.take();
                    most.fetch_max(1 + now.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((2..=3).contains(&most.load(Ordering::SeqCst)));
    }

    #[test]
    fn a_pause_ends_with_the_stop() {
        let cancel = Cancel::new();
        assert!(!pause(&cancel, Duration::from_millis(5)));
        let started = Instant::now();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pause(&cancel, Duration::from_secs(100)));
            cancel.cancel();
            assert!(waiter.join().unwrap());
        });
        assert!(started.elapsed() < Duration::from_secs(50));
    }

    proptest! {
        #[test]
        fn it_opens_for_enough(ready in prop::collection::vec(any::<bool>(), 1..9), need in 1_usize..10) {
            let gate = Gate::new(ready.len(), need);
            let count = ready.iter().filter(|is_ready| **is_ready).count();
            for is_ready in &ready {
                let ticket = gate.ticket();
                if *is_ready {
                    ticket.ready();
                }
            }
            prop_assert_eq!(gate.pass(), count >= need);
            prop_assert_eq!(gate.is_hopeless(), count < need);
            prop_assert_eq!(gate.ready(), count);
        }
    }
}
