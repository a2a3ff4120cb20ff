//! What the service counts of itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use virtmark_model::FailureClass;

use crate::api::Start;
use crate::gone::Gone;

/// Upper bounds of the buckets of every [`Histogram`], in seconds: 1, 2.5 and 5 of each decade from a millisecond to a
/// minute and a half.
pub const BUCKETS_S: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

/// Everything that is counted, at one moment. What never happened is absent from the maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Sandboxes made, by how they started.
    pub created: BTreeMap<Start, u64>,
    /// Sandboxes that could not be made, and those that failed later, by class.
    pub failed: BTreeMap<FailureClass, u64>,
    /// Sandboxes destroyed, by reason: `asked`, `expired`, `failed`, `shutdown`.
    pub destroyed: BTreeMap<&'static str, u64>,
    /// Commands that ended with an answer.
    pub execs: u64,
    /// Requests that were not served, by the code of the error.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Templates made.
    pub templates_made: u64,
    /// Warm machines that could not be made, or died while they waited.
    pub warm_lost: u64,
    /// Duration of the creations that succeeded, by how they started.
    pub create_s: BTreeMap<Start, Histogram>,
    /// Duration of the commands that ended with an answer, by how their sandboxes had started.
    pub exec_s: BTreeMap<Start, Histogram>,
    /// Sandboxes, those in creation included.
    pub sandboxes: u64,
    /// Warm machines that wait.
    pub warm_ready: u64,
    /// Memory of all sandboxes and warm machines.
    pub memory_committed_bytes: u64,
    /// Virtual CPUs of all sandboxes and warm machines.
    pub vcpus_committed: u64,
    /// Snapshots that can be restored.
    pub snapshots: u64,
}

/// Durations by size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each bucket of [`BUCKETS_S`], not cumulated; what is beyond the last is only in `count`.
    pub buckets: [u64; BUCKETS_S.len()],
    /// How many there were.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_s: f64,
}

impl Histogram {
    pub(crate) fn add(&mut self, duration_ns: u64) {
        let seconds = Duration::from_nanos(duration_ns).as_secs_f64();
        if let Some(bucket) = BUCKETS_S.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

/// Counts. The gauges of [`Metrics`] are filled in by whoever has them.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Metrics>);

impl Counters {
    pub(crate) fn created(&self, start: Start, duration_ns: u64) {
        let mut metrics = self.lock();
        *metrics.created.entry(start).or_default() += 1;
        metrics.create_s.entry(start).or_default().add(duration_ns);
    }

    pub(crate) fn failed(&self, class: FailureClass) {
        *self.lock().failed.entry(class).or_default() += 1;
    }

    pub(crate) fn destroyed(&self, reason: &Gone) {
        *self.lock().destroyed.entry(reason.as_str()).or_default() += 1;
    }

    pub(crate) fn executed(&self, start: Start, duration_ns: u64) {
        let mut metrics = self.lock();
        metrics.execs += 1;
        metrics.exec_s.entry(start).or_default().add(duration_ns);
    }

    pub(crate) fn rejected(&self, code: &'static str) {
        *self.lock().rejected.entry(code).or_default() += 1;
    }

    pub(crate) fn template_made(&self) {
        self.lock().templates_made += 1;
    }

    pub(crate) fn warm_lost(&self) {
        self.lock().warm_lost += 1;
    }

    pub(crate) fn read(&self) -> Metrics {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Metrics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_bucket_and_the_longest_into_none() {
        let mut histogram = Histogram::default();
        for duration_ns in [1_000_000, 1_000_001, 2_000_000_000, 1_000_000_000_000] {
            histogram.add(duration_ns);
        }
        assert_eq!(histogram.buckets[..2], [1, 1]);
        assert_eq!(histogram.buckets[10], 1);
        assert_eq!((histogram.buckets.iter().sum::<u64>(), histogram.count), (3, 4));
        assert!((histogram.sum_s - 1002.002).abs() < 0.001);
    }
}
