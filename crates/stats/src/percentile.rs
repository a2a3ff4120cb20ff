//! Percentiles that are observed values, and whether the samples can support them.

use serde::{Deserialize, Serialize};

use crate::StatsError;
use crate::sorted::Sorted;

/// A percentile is held in parts of this, so that 99.9 is exactly 999/1000 and not the nearest binary fraction.
const WHOLE: u64 = 100_000_000;

/// One percentile of a set of samples, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// The percentile, from 0 to 100, to the nearest millionth.
    pub p: f64,
    /// The sample at rank ceil(p/100 × n), in the unit of the samples; never interpolated.
    pub value: f64,
    /// Whether the sample count supports this percentile: at least one observation is expected beyond it, that is
    /// n × min(p, 100 − p) / 100 ≥ 1. So p99 needs 100 samples and p50 needs 2. 0 and 100 are the observed
    /// extremes and always supported.
    pub supported: bool,
}

/// The `p`-th percentile of the samples, by nearest rank.
///
/// The rank is ceil(p/100 × n), computed in integers; percentile 0 is the smallest sample. `p` is taken to the
/// nearest millionth. This is R's quantile type 1.
///
/// # Errors
/// When there are no samples, one is not finite or beyond ±1e150, or `p` is not from 0 to 100.
pub fn percentile(samples: &[f64], p: f64) -> Result<Percentile, StatsError> {
    if !(0.0..=100.0).contains(&p) {
        return Err(StatsError::PercentileOutOfRange { p });
    }
    let parts = (p * (WHOLE / 100) as f64).round() as u64;
    Ok(of_sorted(&Sorted::new(samples)?, parts))
}

/// A whole-numbered percentile of samples in order; `p` must be at most 100.
pub(crate) fn whole(sorted: &Sorted, p: u8) -> Percentile {
    debug_assert!(p <= 100, "percentile {p} is above 100");
    of_sorted(sorted, u64::from(p) * (WHOLE / 100))
}

fn of_sorted(sorted: &Sorted, parts: u64) -> Percentile {
    let n = sorted.len() as u128;
    let rank = (u128::from(parts) * n).div_ceil(u128::from(WHOLE)).max(1);
    let beyond = u128::from(parts.min(WHOLE - parts)) * n;
    Percentile {
        p: parts as f64 / (WHOLE / 100) as f64,
        value: sorted.at_rank(rank as usize),
        supported: parts == 0 || parts == WHOLE || beyond >= u128::from(WHOLE),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(samples: &[f64], ps: &[f64]) -> Vec<f64> {
        ps.iter().map(|&p| percentile(samples, p).unwrap().value).collect()
    }

    /// The worked examples of "The nearest-rank method" in Wikipedia's article on percentiles.
    #[test]
    fn published_nearest_rank_examples() {
        let five = [15.0, 20.0, 35.0, 40.0, 50.0];
        assert_eq!(values(&five, &[5.0, 30.0, 40.0, 50.0, 100.0]), [15.0, 20.0, 20.0, 35.0, 50.0]);
        let ten = [3.0, 6.0, 7.0, 8.0, 8.0, 10.0, 13.0, 15.0, 16.0, 20.0];
        assert_eq!(values(&ten, &[25.0, 50.0, 75.0, 100.0]), [7.0, 8.0, 15.0, 20.0]);
        let eleven = [3.0, 6.0, 7.0, 8.0, 8.0, 9.0, 10.0, 13.0, 15.0, 16.0, 20.0];
        assert_eq!(values(&eleven, &[25.0, 50.0, 75.0, 100.0]), [7.0, 9.0, 15.0, 20.0]);
    }

    #[test]
    fn decimal_percentiles_land_on_their_exact_rank() {
        let thousand: Vec<f64> = (1..=1000).map(f64::from).collect();
        assert_eq!(values(&thousand, &[99.9, 99.0, 0.1, 55.5, 14.1]), [999.0, 990.0, 1.0, 555.0, 141.0]);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let whole: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(values(&hundred, &whole), whole);
    }

    #[test]
    fn a_percentile_is_supported_when_one_sample_is_expected_beyond_it() {
        let supported = |n: u32, p: f64| {
            let samples: Vec<f64> = (0..n).map(f64::from).collect();
            percentile(&samples, p).unwrap().supported
        };
        for (n, p) in
            [(2, 50.0), (10, 90.0), (20, 95.0), (100, 99.0), (1000, 99.9), (100, 1.0), (1, 0.0), (1, 100.0)]
        {
            assert!(supported(n, p), "p{p} of {n}");
        }
        for (n, p) in [(1, 50.0), (9, 90.0), (19, 95.0), (20, 99.0), (99, 99.0), (999, 99.9), (99, 1.0)] {
            assert!(!supported(n, p), "p{p} of {n}");
        }
    }

    #[test]
    fn a_percentile_outside_its_range_is_refused() {
        for p in [-0.1, 100.1, f64::INFINITY] {
            assert_eq!(percentile(&[1.0], p).unwrap_err(), StatsError::PercentileOutOfRange { p });
        }
        assert!(percentile(&[1.0], f64::NAN).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// The definition, word for word: the smallest sample with at least p % of the samples at or below it.
        #[test]
        fn agrees_with_the_definition(samples in prop::collection::vec(-1e6..1e6f64, 1..200), tenths in 0u32..=1000) {
            let found = percentile(&samples, f64::from(tenths) / 10.0).unwrap().value;
            let enough = |candidate: f64| {
                let at_or_below = samples.iter().filter(|&&sample| sample <= candidate).count() as u64;
                at_or_below * 1000 >= u64::from(tenths) * samples.len() as u64
            };
            let naive = samples.iter().copied().filter(|&sample| enough(sample)).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(found, naive);
        }
    }
}
