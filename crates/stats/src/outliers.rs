//! Samples far from the rest: counted, never removed.

use serde::{Deserialize, Serialize};

use crate::percentile::whole;
use crate::sorted::Sorted;

/// How many samples lie beyond Tukey's fences; they stay in every figure.
///
/// The fences stand 1.5 (mild) and 3 (severe) interquartile ranges outside the first and third quartile, which
/// are nearest-rank percentiles. A sample on a fence is inside it. Each sample is counted once.
/// Source: J. W. Tukey, Exploratory Data Analysis, 1977.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outliers {
    /// Samples more than 3 interquartile ranges below the first quartile.
    pub low_severe: u64,
    /// Samples more than 1.5 and at most 3 interquartile ranges below the first quartile.
    pub low_mild: u64,
    /// Samples more than 1.5 and at most 3 interquartile ranges above the third quartile.
    pub high_mild: u64,
    /// Samples more than 3 interquartile ranges above the third quartile.
    pub high_severe: u64,
}

impl Outliers {
    /// Samples beyond any fence.
    pub fn total(&self) -> u64 {
        self.low_severe + self.low_mild + self.high_mild + self.high_severe
    }

    pub(crate) fn of(sorted: &Sorted) -> Self {
        let first = whole(sorted, 25).value;
        let third = whole(sorted, 75).value;
        let range = third - first;
        let low_severe = sorted.count_below(first - 3.0 * range);
        let low = sorted.count_below(first - 1.5 * range);
        let high = sorted.len() - sorted.count_up_to(third + 1.5 * range);
        let high_severe = sorted.len() - sorted.count_up_to(third + 3.0 * range);
        Self {
            low_severe: low_severe as u64,
            low_mild: (low - low_severe) as u64,
            high_mild: (high - high_severe) as u64,
            high_severe: high_severe as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quartiles 4 and 8, so fences at -8, -2, 14 and 20.
    #[test]
    fn each_side_and_degree_is_counted_apart_and_a_fence_belongs_inside() {
        let middle = [4.0, 4.0, 4.0, 6.0, 8.0, 8.0, 8.0];
        let outliers = |others: [f64; 4]| {
            let samples: Vec<f64> = middle.iter().copied().cycle().take(28).chain(others).collect();
            Outliers::of(&Sorted::new(&samples).unwrap())
        };
        assert_eq!(outliers([-2.0, -2.0, 14.0, 14.0]).total(), 0);
        assert_eq!(
            outliers([-8.0, -3.0, 20.0, 15.0]),
            Outliers { low_severe: 0, low_mild: 2, high_mild: 2, high_severe: 0 }
        );
        assert_eq!(
            outliers([-8.1, -2.1, 20.1, 1000.0]),
            Outliers { low_severe: 1, low_mild: 1, high_mild: 0, high_severe: 2 }
        );
    }

    #[test]
    fn equal_samples_have_none() {
        assert_eq!(Outliers::of(&Sorted::new(&[5.0; 40]).unwrap()), Outliers::default());
    }
}
