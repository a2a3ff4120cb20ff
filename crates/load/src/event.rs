//! What the program `virtmark-load` writes, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// A line of output. Progress comes while calls are made; the last line is the outcome, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Nothing was measured.
    Failed {
        /// What was attempted, and why it failed.
        message: String,
    },
    /// What was measured.
    Outcome(Box<Outcome>),
    /// How far it is.
    Progress(Progress),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Since this phase began.
    pub elapsed_ns: u64,
    /// Calls of this phase that succeeded. Two progresses give the throughput between them.
    pub completed: u64,
    /// Calls of this phase that failed.
    pub failed: u64,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Calls count.
    Measure,
    /// Calls do not count yet.
    Warmup,
}
