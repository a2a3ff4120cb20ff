//! What was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latencies::Latencies;

/// What was measured at one level of load. Only calls that began and ended within `elapsed_ns` are in `completed`,
/// `errors` and `latency`; the warm-up is in none of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub ended: Ended,
    /// How long calls counted, by the clock: the duration, or less when it was told to stop.
    pub elapsed_ns: u64,
    /// Calls that succeeded.
    pub completed: u64,
    /// Calls that failed, by class.
    pub errors: BTreeMap<String, ErrorCount>,
    /// Calls under way when the time was up. They were given up, and count neither as completed nor as errors.
    pub cut_off: u64,
    /// How long the oldest of them had taken by then: a latency that was at least this.
    pub oldest_cut_off_ns: Option<u64>,
    /// Of those cut off, calls that could not be ended and went on.
    pub stuck: u64,
    /// Of the calls that succeeded. Closed loop: from the start of the call; open loop: from when it was due.
    pub latency: Latencies,
    /// What only an open loop has.
    pub open: Option<OpenFigures>,
    /// The calls before those that counted.
    pub warmup: Warmup,
    /// What the generator itself used. A plan runs inside the generator, so its work is in here.
    pub usage: Usage,
    /// What the generator adds to a call and to its latency: the mean time of a call that does nothing, in nanoseconds,
    /// measured before the warm-up. None for HTTP, where it is within `usage`.
    pub overhead_ns_per_call: Option<f64>,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It was told to stop.
    Cancelled,
    /// Its time was up.
    Completed,
}

/// Calls that failed in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// How many.
    pub count: u64,
    /// The first message that one of the workers met.
    pub message: String,
}

/// Figures of an open loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenFigures {
    /// Calls that were due while calls counted.
    pub due: u64,
    /// Of those, calls that were due before a worker was free for them. Their wait is in their latency.
    pub late: u64,
    /// Of those, calls that were not begun when the time was up.
    pub dropped: u64,
    /// How much later than due a call began although a worker waited for it: what the generator is to blame for.
    pub lag: Latencies,
}

/// The calls before those that counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmup {
    /// How many succeeded.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// How long they took together.
    pub elapsed_ns: u64,
    /// Whether they were as many as the job wanted; otherwise they took as long as calls were to count.
    pub is_whole: bool,
}

/// What the generator used while calls counted, from getrusage(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of the generator in user mode.
    pub cpu_user_ns: u64,
    /// CPU time of the generator in the kernel.
    pub cpu_system_ns: u64,
    /// CPU time in user mode of the processes of a command that have ended.
    pub children_cpu_user_ns: u64,
    /// CPU time in the kernel of the same.
    pub children_cpu_system_ns: u64,
    /// Most memory that the generator ever had.
    pub max_rss_bytes: u64,
    /// Most memory that one of the processes of a command ever had; 0 when there were none.
    pub children_max_rss_bytes: u64,
}

impl Outcome {
    /// Calls that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().fold(0, |sum, error| sum.saturating_add(error.count))
    }

    /// Calls that succeeded in each second; 0 when no time passed.
    pub fn throughput_per_s(&self) -> f64 {
        if self.elapsed_ns == 0 { 0.0 } else { self.completed as f64 / (self.elapsed_ns as f64 / 1e9) }
    }
}
