//! What a TTI run is asked to do, as it goes on record.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a TTI run is asked to do. Its serde form is part of a run's configuration, and the report reads it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtiPlan {
    /// Machines to measure.
    pub iterations: NonZeroU32,
    /// Machines before them that are run one by one and not recorded.
    pub warmup: u32,
    /// The command, for the guest's shell.
    pub command: String,
    /// How long one machine may take, from the request to create to the command's output.
    #[serde(rename = "timeout_ns", with = "nanoseconds")]
    pub timeout: Duration,
    /// How machines follow each other.
    pub mode: Mode,
    /// Machines alive at once, at most; 1 in sequential mode.
    pub concurrency: NonZeroU32,
    /// Between two launches in staggered mode.
    #[serde(rename = "stagger_ns", with = "nanoseconds")]
    pub stagger: Duration,
}

/// How machines follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All at once.
    Burst,
    /// Each after the one before it is destroyed.
    Sequential,
    /// Each a fixed time after the one before it, whether that one is ready or not.
    Staggered,
}

impl Mode {
    /// All modes, the default first.
    pub const ALL: [Self; 3] = [Self::Sequential, Self::Staggered, Self::Burst];

    /// The name on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Sequential => "sequential",
            Self::Staggered => "staggered",
        }
    }

    /// Whether several machines may be alive at once.
    pub fn is_concurrent(self) -> bool {
        self != Self::Sequential
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A name that is no mode.
#[derive(Debug, Error)]
#[error("unknown mode {0:?}: expected sequential, staggered or burst")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name).ok_or_else(|| UnknownMode(name.into()))
    }
}

/// A duration as whole nanoseconds.
mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}
