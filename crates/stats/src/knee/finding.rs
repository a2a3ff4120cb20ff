//! What a method found, or why it found nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a method found, or why there is nothing to be found in the range that was measured.
///
/// As JSON: the fields of what was found beside `"outcome": "found"`, or `{"outcome": "none_in_range", "reason": …}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Finding<T> {
    /// The method found this.
    Found(T),
    /// The method found nothing.
    NoneInRange {
        /// Why, and where it helps what to measure; a clause without a full stop.
        reason: String,
    },
}

impl<T> Finding<T> {
    pub(crate) fn none(reason: impl Into<String>) -> Self {
        Self::NoneInRange { reason: reason.into() }
    }

    /// What was found, if anything.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(value) => Some(value),
            Self::NoneInRange { .. } => None,
        }
    }

    /// Why nothing was found, if nothing was.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Found(_) => None,
            Self::NoneInRange { reason } => Some(reason),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Finding<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(value) => value.fmt(f),
            Self::NoneInRange { reason } => write!(f, "none in range: {reason}"),
        }
    }
}
