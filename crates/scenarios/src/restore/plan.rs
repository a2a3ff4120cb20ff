//! What a restore run is asked to do, as it goes on record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nanoseconds;
use crate::pace::Pace;

/// What a restore run is asked to do. Its serde form is part of a run's configuration, and the report reads it there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestorePlan {
    /// How many machines there are, and how they follow each other.
    #[serde(flatten)]
    pub pace: Pace,
    /// How long one machine may take, from the request to restore to the command's output; also the fixture's start,
    /// and each reading of the working set.
    #[serde(rename = "timeout_ns", with = "nanoseconds")]
    pub timeout: Duration,
    /// What is put into guest memory, to be read after a restore. At most a quarter of the guest's memory is used,
    /// whatever stands here, in whole parts of 256 KiB; 0 leaves the reading out.
    pub working_set_bytes: u64,
    /// How often the working set is read, for each state of the page cache; 0 leaves the reading out.
    pub working_set_iterations: u32,
}

impl RestorePlan {
    /// What is put into guest memory unless something else is asked for.
    pub const DEFAULT_WORKING_SET_BYTES: u64 = 64 << 20;
    /// How often it is read unless something else is asked for.
    pub const DEFAULT_WORKING_SET_ITERATIONS: u32 = 5;
}
