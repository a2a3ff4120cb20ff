//! Things that are lent out, to those who ask in the order in which they asked.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A fixed number of things, each lent to one at a time.
///
/// Whoever waits gets what is given back, before anyone who comes later: the time to wait is that of a queue, and the
/// latencies of callers show it. What was given back last is lent first, so that few callers need few connections.
#[derive(Debug)]
pub(super) struct Permits<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    free: Vec<T>,
    waiting: VecDeque<Arc<Waiter<T>>>,
}

#[derive(Debug)]
struct Waiter<T> {
    given: Mutex<Option<T>>,
    changed: Condvar,
}

impl<T> Permits<T> {
    pub(super) fn new(things: impl IntoIterator<Item = T>) -> Self {
        let state = State { free: things.into_iter().collect(), waiting: VecDeque::new() };
        Self { state: Mutex::new(state) }
    }

    /// Waits for one of the things; it goes back when the permit is dropped.
    pub(super) fn take(&self) -> Permit<'_, T> {
        let mut state = lock(&self.state);
        // There is something free only when nobody waits.
        let thing = match state.free.pop() {
            Some(thing) => thing,
            None => {
                let waiter = Arc::new(Waiter { given: Mutex::new(None), changed: Condvar::new() });
                state.waiting.push_back(Arc::clone(&waiter));
                drop(state);
                waiter.wait()
            }
        };
        Permit { permits: self, thing: Some(thing) }
    }

    fn give_back(&self, thing: T) {
        let mut state = lock(&self.state);
        match state.waiting.pop_front() {
            Some(waiter) => {
                drop(state);
                *lock(&waiter.given) = Some(thing);
                waiter.changed.notify_one();
            }
            None => state.free.push(thing),
        }
    }
}

impl<T> Waiter<T> {
    fn wait(&self) -> T {
        let mut given = lock(&self.given);
        loop {
            match given.take() {
                Some(thing) => return thing,
                None => given = self.changed.wait(given).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// One thing, for as long as this lives.
#[derive(Debug)]
pub(super) struct Permit<'a, T> {
    permits: &'a Permits<T>,
    /// There until the drop.
    thing: Option<T>,
}

impl<T> Deref for Permit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("only the drop takes it")
    }
}

impl<T> DerefMut for Permit<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_mut().expect("only the drop takes it")
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        self.thing.take().into_iter().for_each(|thing| self.permits.give_back(thing));
    }
}

/// Nothing is done under these locks that could leave half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_are_out_than_there_are() {
        let permits = Permits::new([0, 1, 2]);
        let (out, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let uses: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let permit = permits.take();
                        most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        assert_eq!(uses[*permit].fetch_add(1, Ordering::SeqCst), 0, "one to two at a time");
                        thread::yield_now();
                        uses[*permit].fetch_sub(1, Ordering::SeqCst);
                        out.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(lock(&permits.state).free.len(), 3);
    }

    #[test]
    fn who_came_first_is_served_first() {
        let permits = Permits::new([()]);
        let served = Mutex::new(Vec::new());
        let held = permits.take();
        thread::scope(|scope| {
            for turn in 0..5 {
                scope.spawn({
                    let (permits, served) = (&permits, &served);
                    move || {
                        let _permit = permits.take();
                        lock(served).push(turn);
                    }
                });
                while lock(&permits.state).waiting.len() <= turn {
                    thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(*lock(&served), [0, 1, 2, 3, 4]);
    }
}
