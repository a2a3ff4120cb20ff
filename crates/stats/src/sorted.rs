//! Samples checked once and put in order, so that everything after can rely on both.

use crate::StatsError;

/// Squares of samples up to here, and sums of a hundred million of them, stay finite.
const LARGEST: f64 = 1e150;

/// At least one finite sample of bounded size, in ascending order.
#[derive(Debug, Clone)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(samples: &[f64]) -> Result<Self, StatsError> {
        if samples.is_empty() {
            return Err(StatsError::Empty);
        }
        for (index, &value) in samples.iter().enumerate() {
            if !value.is_finite() {
                return Err(StatsError::NotFinite { index, value });
            }
            if value.abs() > LARGEST {
                return Err(StatsError::TooLarge { index, value });
            }
        }
        // Adding zero turns -0.0 into 0.0: equal samples then have equal bits, and order alone decides nothing.
        let mut values: Vec<f64> = samples.iter().map(|value| value + 0.0).collect();
        values.sort_unstable_by(f64::total_cmp);
        Ok(Self(values))
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The sample of a rank, counted from 1.
    pub(crate) fn at_rank(&self, rank: usize) -> f64 {
        self.0[rank - 1]
    }

    /// The nearest-rank median: the lower of the middle two when their number is even.
    pub(crate) fn median(&self) -> f64 {
        self.at_rank(self.len().div_ceil(2))
    }

    pub(crate) fn count_below(&self, value: f64) -> usize {
        self.0.partition_point(|&sample| sample < value)
    }

    pub(crate) fn count_up_to(&self, value: f64) -> usize {
        self.0.partition_point(|&sample| sample <= value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_refused_with_its_position() {
        assert_eq!(Sorted::new(&[]).unwrap_err(), StatsError::Empty);
        assert!(matches!(
            Sorted::new(&[1.0, f64::NAN]).unwrap_err(),
            StatsError::NotFinite { index: 1, value } if value.is_nan()
        ));
        assert_eq!(
            Sorted::new(&[f64::NEG_INFINITY]).unwrap_err(),
            StatsError::NotFinite { index: 0, value: f64::NEG_INFINITY }
        );
        assert_eq!(
            Sorted::new(&[0.0, 1.0, -2e150]).unwrap_err(),
            StatsError::TooLarge { index: 2, value: -2e150 }
        );
    }

    #[test]
    fn both_zeros_are_one_value() {
        let sorted = Sorted::new(&[0.0, -0.0, 0.0]).unwrap();
        assert!(sorted.values().iter().all(|value| value.to_bits() == 0));
    }
}
