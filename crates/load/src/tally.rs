//! What one worker has seen: nobody else writes to it, so that workers do not wait for each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::latencies::Latencies;
use crate::outcome::ErrorCount;
use crate::target::CallFailure;
use crate::window::{Window, ns};

/// Longest message that is kept.
const MAX_MESSAGE_BYTES: usize = 2048;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) latency: Latencies,
    pub(crate) lag: Latencies,
    pub(crate) errors: BTreeMap<String, ErrorCount>,
    pub(crate) failed: u64,
    pub(crate) late: u64,
    pub(crate) cut_off: u64,
    pub(crate) oldest_cut_off_ns: Option<u64>,
    /// Of those cut off.
    pub(crate) stuck: u64,
    /// Nobody waits for this worker any more: what it still does counts no more.
    is_closed: bool,
}

/// Where a worker keeps its tally, and what it is doing.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    tally: Mutex<Tally>,
    /// When the call under way was due, after the start of the window and at least 1; 0 between two calls.
    under_way_ns: AtomicU64,
}

impl Slot {
    /// A call that was due then has begun; for workers that may be left behind.
    pub(crate) fn begin(&self, window: &Window, due: Instant) {
        let after = ns(due.saturating_duration_since(window.start)).max(1);
        self.under_way_ns.store(after, Ordering::Relaxed);
    }

    /// The call that was due then has ended. `limit` is when it was to be given up.
    pub(crate) fn end(
        &self,
        window: &Window,
        due: Instant,
        limit: Instant,
        ended: Instant,
        result: Result<(), CallFailure>,
    ) {
        let mut tally = self.lock();
        if tally.is_closed {
            return;
        }
        self.under_way_ns.store(0, Ordering::Relaxed);
        let end = window.end();
        let gave_up = result.as_ref().is_err_and(|failure| failure.class == "timeout" && limit >= end);
        if ended >= end || gave_up || (result.is_err() && window.cancel.is_cancelled()) {
            return tally.cut_off(ns(end.min(ended).saturating_duration_since(due)));
        }
        match result {
            Ok(()) if ended > limit => tally.fail(CallFailure::timeout("the call took longer than it may")),
            Ok(()) => tally.latency.record(ns(ended.saturating_duration_since(due))),
            Err(failure) => tally.fail(failure),
        }
    }

    /// A worker took a call that was due then: it was late, or the worker waited for it until now.
    pub(crate) fn take(&self, due: Instant, now: Instant, waited: bool) {
        let mut tally = self.lock();
        if waited {
            tally.lag.record(ns(now.saturating_duration_since(due)));
        } else {
            tally.late += 1;
        }
    }

    /// Calls that succeeded and failed so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let tally = self.lock();
        (tally.latency.count(), tally.failed)
    }

    /// Takes the tally of a worker that has ended, or is left behind.
    pub(crate) fn close(&self, window: &Window) -> Tally {
        let mut tally = self.lock();
        let under_way_ns = self.under_way_ns.load(Ordering::Relaxed);
        if under_way_ns > 0 {
            tally.stuck += 1;
            tally.cut_off(window.length_ns().saturating_sub(under_way_ns));
        }
        std::mem::replace(&mut *tally, Tally { is_closed: true, ..Tally::default() })
    }

    /// Nothing in here panics half way.
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn fail(&mut self, failure: CallFailure) {
        self.failed += 1;
        if let Some(error) = self.errors.get_mut(&*failure.class) {
            error.count += 1;
            return;
        }
        let mut message = failure.message;
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        self.errors.insert(failure.class.into_owned(), ErrorCount { count: 1, message });
    }

    fn cut_off(&mut self, age_ns: u64) {
        self.cut_off += 1;
        self.oldest_cut_off_ns = self.oldest_cut_off_ns.max(Some(age_ns));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        self.lag.merge(&other.lag);
        for (class, error) in other.errors {
            match self.errors.get_mut(&class) {
                Some(sum) => sum.count += error.count,
                None => drop(self.errors.insert(class, error)),
            }
        }
        self.failed += other.failed;
        self.late += other.late;
        self.cut_off += other.cut_off;
        self.oldest_cut_off_ns = self.oldest_cut_off_ns.max(other.oldest_cut_off_ns);
        self.stuck += other.stuck;
    }

    /// Calls that were begun.
    pub(crate) fn begun(&self) -> u64 {
        self.latency.count() + self.failed + self.cut_off
    }
}
