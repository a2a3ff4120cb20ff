//! The time in which calls count, and when they are due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::job::Arrivals;
use crate::target::Cancel;

/// A stretch of time that all workers share, with the rules for calls in it.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) start: Instant,
    pub(crate) arrivals: Arrivals,
    pub(crate) request_timeout: Duration,
    pub(crate) cancel: Cancel,
    /// After the start; earlier than planned when the run was told to stop.
    end_ns: AtomicU64,
    /// Calls that may begin; none for as many as there is time for.
    quota: Option<u64>,
    /// Calls that were handed out.
    taken: AtomicU64,
}

impl Window {
    pub(crate) fn new(
        arrivals: Arrivals,
        length: Duration,
        request_timeout: Duration,
        cancel: &Cancel,
    ) -> Self {
        Self {
            start: Instant::now(),
            arrivals,
            request_timeout,
            cancel: cancel.clone(),
            end_ns: AtomicU64::new(ns(length)),
            quota: None,
            taken: AtomicU64::new(0),
        }
    }

    /// As many calls as these and no more.
    pub(crate) fn with_quota(self, calls: u64) -> Self {
        Self { quota: Some(calls), ..self }
    }

    pub(crate) fn length_ns(&self) -> u64 {
        self.end_ns.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) -> Instant {
        self.start + Duration::from_nanos(self.length_ns())
    }

    /// The run was told to stop: what ends from now on does not count.
    pub(crate) fn end_now(&self) {
        self.end_ns.fetch_min(ns(self.start.elapsed()), Ordering::Relaxed);
    }

    /// When the next call is due; none when there is no more. A closed loop's is due at once.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.cancel.is_cancelled() {
            return None;
        }
        match self.arrivals {
            Arrivals::Closed { .. } => {
                let may_begin =
                    self.quota.is_none_or(|quota| self.taken.fetch_add(1, Ordering::Relaxed) < quota);
                (may_begin && now < self.end()).then_some(now)
            }
            Arrivals::Open { rate_per_s, .. } => {
                let due_ns = due_ns(self.taken.fetch_add(1, Ordering::Relaxed), rate_per_s);
                (due_ns < self.length_ns()).then(|| self.start + Duration::from_nanos(due_ns))
            }
        }
    }

    /// When a call that begins now is to be given up: at the end of the window at the latest.
    pub(crate) fn limit(&self, now: Instant) -> Instant {
        self.end().min(now + self.request_timeout)
    }

    /// Calls of an open loop that were due; none for a closed one.
    pub(crate) fn due(&self) -> Option<u64> {
        let Arrivals::Open { rate_per_s, .. } = self.arrivals else { return None };
        let length_ns = self.length_ns();
        // Near the right one, from which at most a few steps are left.
        let mut calls = (length_ns as f64 / 1e9 * rate_per_s) as u64;
        while calls > 0 && due_ns(calls - 1, rate_per_s) >= length_ns {
            calls -= 1;
        }
        while due_ns(calls, rate_per_s) < length_ns {
            calls += 1;
        }
        Some(calls)
    }
}

/// When call number `index` is due, after the start. Each is computed from the start, so that errors do not add up.
fn due_ns(index: u64, rate_per_s: f64) -> u64 {
    (index as f64 * 1e9 / rate_per_s) as u64
}

pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
