//! What a TTI run is asked to do, as it goes on record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nanoseconds;
use crate::pace::Pace;

/// What a TTI run is asked to do. Its serde form is part of a run's configuration, and the report reads it there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TtiPlan {
    /// How many machines there are, and how they follow each other.
    #[serde(flatten)]
    pub pace: Pace,
    /// The command, for the guest's shell.
    pub command: String,
    /// How long one machine may take, from the request to create to the command's output.
    #[serde(rename = "timeout_ns", with = "nanoseconds")]
    pub timeout: Duration,
}
