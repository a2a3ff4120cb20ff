//! The names of the ways in which machines follow each other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How machines follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All at once.
    Burst,
    /// Each at a moment that was fixed beforehand.
    OpenLoop,
    /// Each after the one before it is destroyed.
    Sequential,
    /// Each a fixed time after the one before it, whether that one is ready or not.
    Staggered,
}

impl Mode {
    /// All modes, the default first.
    pub const ALL: [Self; 4] = [Self::Sequential, Self::Staggered, Self::Burst, Self::OpenLoop];

    /// The name on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::OpenLoop => "open_loop",
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
#[error("unknown mode {0:?}: expected sequential, staggered, burst or open_loop")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name).ok_or_else(|| UnknownMode(name.into()))
    }
}
