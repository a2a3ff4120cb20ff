//! A range that a figure is believed to lie in.

use serde::{Deserialize, Serialize};

use crate::StatsError;

/// A confidence interval, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end, in the unit of the figure.
    pub low: f64,
    /// Upper end, in the unit of the figure.
    pub high: f64,
    /// Nominal confidence level, between 0 and 1.
    pub level: f64,
}

impl Interval {
    /// Whether the value lies in the interval.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// A confidence level that the methods of this crate can place the ends of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level(f64);

impl Level {
    pub(crate) const NINETY_FIVE: Self = Self(0.95);
    /// Beyond this the tails are finer than the approximations behind a bootstrap interval.
    const HIGHEST: f64 = 0.999_999;

    pub(crate) fn new(level: f64) -> Result<Self, StatsError> {
        if level > 0.0 && level <= Self::HIGHEST {
            Ok(Self(level))
        } else {
            Err(StatsError::LevelOutOfRange { level })
        }
    }

    /// The probability left outside on each side.
    pub(crate) fn tail(self) -> f64 {
        (1.0 - self.0) / 2.0
    }

    pub(crate) fn interval(self, low: f64, high: f64) -> Interval {
        Interval { low, high, level: self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_probability_short_of_certainty() {
        for level in [0.0, -0.5, 1.0, 0.999_999_9, f64::NAN] {
            assert!(matches!(Level::new(level), Err(StatsError::LevelOutOfRange { .. })), "{level}");
        }
        assert!((Level::new(0.9).unwrap().tail() - 0.05).abs() < 1e-15);
    }

    #[test]
    fn both_ends_belong_to_the_interval() {
        let interval = Level::NINETY_FIVE.interval(1.0, 2.0);
        assert!(interval.contains(1.0) && interval.contains(2.0));
        assert!(!interval.contains(0.999) && !interval.contains(2.001));
    }
}
