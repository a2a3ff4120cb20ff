//! How machines follow each other, for every scenario that measures one machine many times.
//!
//! - sequential: each after the one before it is destroyed.
//! - burst and staggered: waves of at most `concurrency` machines. A wave's machines stay until all of them are ready or
//!   have failed, and are destroyed together, so that no destroy disturbs a launch or counts in the wall clock.
//! - open loop: launches at moments that are fixed beforehand, whether the machines before are ready or not.

mod drive;
mod mode;
mod open_loop;
mod report;
mod sequential;
mod waves;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nanoseconds;

pub(crate) use drive::{Attempt, Drive, Launch, Measured, Task};
pub use mode::{Mode, UnknownMode};
pub use report::{Concurrent, OpenLoop, RampPoint};

/// How many machines there are, and how they follow each other. Its serde form is part of a run's configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Machines to measure; in open-loop mode, the arrivals that fit into the duration.
    pub iterations: NonZeroU32,
    /// Machines before them that are run one by one and not recorded.
    #[serde(default)]
    pub warmup: u32,
    /// How machines follow each other.
    pub mode: Mode,
    /// Machines alive at once, at most; 1 in sequential mode.
    pub concurrency: NonZeroU32,
    /// Between two launches in staggered mode.
    #[serde(rename = "stagger_ns", with = "nanoseconds")]
    pub stagger: Duration,
    /// When machines are launched in open-loop mode; absent in all others.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
}

/// Launches at constant distance: the one with number `i`, from 0, at `i / rate` seconds after the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Launches each second; positive and finite.
    pub rate_per_second: f64,
    /// For how long machines are launched.
    #[serde(rename = "duration_ns", with = "nanoseconds")]
    pub duration: Duration,
}

impl Pace {
    /// One machine after the other.
    pub fn sequential(iterations: NonZeroU32, warmup: u32) -> Self {
        let (mode, concurrency) = (Mode::Sequential, NonZeroU32::MIN);
        Self { iterations, warmup, mode, concurrency, stagger: Duration::ZERO, arrivals: None }
    }

    /// Waves of machines that are launched together.
    pub fn burst(iterations: NonZeroU32, warmup: u32, concurrency: NonZeroU32) -> Self {
        Self { mode: Mode::Burst, concurrency, ..Self::sequential(iterations, warmup) }
    }

    /// Waves of machines that are launched one by one, `stagger` apart.
    pub fn staggered(
        iterations: NonZeroU32,
        warmup: u32,
        concurrency: NonZeroU32,
        stagger: Duration,
    ) -> Self {
        Self { mode: Mode::Staggered, concurrency, stagger, ..Self::sequential(iterations, warmup) }
    }

    /// Launches at fixed moments; `None` when none or more than 2^32 of them fit, or the rate is no positive number.
    pub fn open_loop(arrivals: Arrivals, warmup: u32, concurrency: NonZeroU32) -> Option<Self> {
        let mode = Mode::OpenLoop;
        let iterations = arrivals.count()?;
        Some(Self { mode, concurrency, arrivals: Some(arrivals), ..Self::sequential(iterations, warmup) })
    }

    /// Machines that can be alive at once.
    pub(crate) fn width(&self) -> NonZeroU32 {
        self.concurrency.min(self.iterations)
    }
}

impl Arrivals {
    /// How many of them come before the duration has passed; the first comes at its start. `None` when there are none,
    /// more than 2^32, or the rate is no positive number.
    pub fn count(&self) -> Option<NonZeroU32> {
        let count = (self.rate_per_second * self.duration.as_secs_f64()).ceil();
        // NaN and what is not positive fail the comparison.
        let fits = self.rate_per_second > 0.0 && count >= 1.0 && count <= f64::from(u32::MAX);
        if fits { NonZeroU32::new(count as u32) } else { None }
    }

    /// The moment of an arrival, counted from the start.
    pub(crate) fn offset(&self, number: u32) -> Duration {
        Duration::try_from_secs_f64(f64::from(number) / self.rate_per_second).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rate_per_second: f64, seconds: f64) -> Arrivals {
        Arrivals { rate_per_second, duration: Duration::from_secs_f64(seconds) }
    }

    #[test]
    fn arrivals_are_counted_up_to_the_end_of_the_duration() {
        let count = |rate, seconds| arrivals(rate, seconds).count().map(NonZeroU32::get);
        assert_eq!(count(10.0, 1.0), Some(10));
        assert_eq!(count(10.0, 1.05), Some(11));
        assert_eq!(count(0.1, 1.0), Some(1));
        for (rate, seconds) in [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (10.0, 0.0)] {
            assert_eq!(count(rate, seconds), None, "{rate} for {seconds} s");
        }
        assert_eq!(count(1e9, 10.0), None);
    }

    #[test]
    fn every_arrival_comes_before_the_end_and_the_next_would_not() {
        for (rate, seconds) in [(3.0, 7.0), (7.0, 3.3), (1000.0, 2.5), (0.3, 10.0)] {
            let arrivals = arrivals(rate, seconds);
            let count = arrivals.count().unwrap().get();
            assert!(arrivals.offset(count - 1) < arrivals.duration, "{rate} for {seconds} s");
            assert!(arrivals.offset(count) >= arrivals.duration, "{rate} for {seconds} s");
        }
    }

    #[test]
    fn a_pace_reads_back_flat() {
        let many = NonZeroU32::new(4).unwrap();
        let open = Pace::open_loop(arrivals(2.0, 3.0), 1, many).unwrap();
        let json = serde_json::to_value(&open).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "iterations": 6, "warmup": 1, "mode": "open_loop", "concurrency": 4, "stagger_ns": 0,
                "rate_per_second": 2.0, "duration_ns": 3_000_000_000_u64,
            })
        );
        for pace in [open, Pace::sequential(many, 0), Pace::burst(many, 2, many)] {
            let json = serde_json::to_value(&pace).unwrap();
            assert_eq!(serde_json::from_value::<Pace>(json).unwrap(), pace);
        }
    }
}
