//! How many times larger one median is than another.

use serde::{Deserialize, Serialize};

use crate::bca::{Jackknife, acceleration, ends};
use crate::interval::Level;
use crate::median::{ResampledMedian, least_samples, left_out};
use crate::sorted::Sorted;
use crate::{Interval, StatsError};

/// The smallest sample: with the largest of 1e150 every quotient stays finite.
const SMALLEST: f64 = 1e-150;

/// Ranks less likely than this for a resampled median are left out; no end of an interval lies so far out.
const NEGLIGIBLE: f64 = 1e-12;

/// One median as a multiple of another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The nearest-rank median of the first set divided by that of the second; no unit.
    pub point: f64,
    /// BCa bootstrap interval of the ratio.
    pub interval: Interval,
}

/// The median of `a` divided by the median of `b`, with a BCa bootstrap interval of the given level.
///
/// The two sets are taken as independent: each is resampled by itself. Measurements that alternate share slow
/// drifts of the machine, which this neither uses nor removes. The exact distribution of the two resampled medians
/// is used, as if infinitely many resamples had been drawn, so there is no seed. Ends are ratios of two samples.
/// Work grows with the number of samples, apart from sorting them.
///
/// # Errors
/// When a sample is not finite, not positive (at least 1e-150) or beyond 1e150; when the level is not above 0 and at
/// most 0.999999; when either set has too few samples for an interval of a median at that level (6 for 0.95).
pub fn ratio_of_medians(a: &[f64], b: &[f64], level: f64) -> Result<Ratio, StatsError> {
    let level = Level::new(level)?;
    let (a, b) = (positive(a)?, positive(b)?);
    let (found, needed) = (a.len().min(b.len()), least_samples(level));
    if found < needed {
        return Err(StatsError::TooFewSamples { found, needed });
    }
    let (top, bottom) = (a.median(), b.median());
    let point = top / bottom;
    let resampled = ResampledRatio { a: likely_medians(&a), b: likely_medians(&b) };
    let share =
        (resampled.probability(|ratio| ratio < point) + resampled.probability(|ratio| ratio <= point)) / 2.0;
    let jackknife = [
        Jackknife::new(&left_out(&a).map(|(median, times)| (median / bottom, times))),
        Jackknife::new(&left_out(&b).map(|(median, times)| (top / median, times))),
    ];
    let (low, high) = ends(share, acceleration(&jackknife), level);
    Ok(Ratio { point, interval: level.interval(resampled.at(low), resampled.at(high)) })
}

fn positive(samples: &[f64]) -> Result<Sorted, StatsError> {
    let sorted = Sorted::new(samples)?;
    match samples.iter().enumerate().find(|&(_, &value)| value < SMALLEST) {
        Some((index, &value)) => Err(StatsError::NotPositive { index, value }),
        None => Ok(sorted),
    }
}

/// The values a resampled median takes, ascending, each with its probability; about 7√n of them.
fn likely_medians(sorted: &Sorted) -> Vec<(f64, f64)> {
    let resampled = ResampledMedian { samples: sorted.len() };
    let first = resampled.rank_at(NEGLIGIBLE);
    let last = resampled.rank_at(1.0 - NEGLIGIBLE);
    let mut reached = 0.0;
    (first..=last)
        .map(|rank| {
            let up_to = if rank == last { 1.0 } else { resampled.up_to(rank).max(reached) };
            let probability = up_to - reached;
            reached = up_to;
            (sorted.at_rank(rank), probability)
        })
        .collect()
}

/// The distribution of the quotient of two independent resampled medians.
struct ResampledRatio {
    a: Vec<(f64, f64)>,
    b: Vec<(f64, f64)>,
}

impl ResampledRatio {
    /// The probability of the ratios that `counts` accepts, which must be those up to some bound.
    fn probability(&self, counts: impl Fn(f64) -> bool) -> f64 {
        // As the numerator grows, only ever larger denominators keep the ratio small: one walk over each suffices.
        let mut refused = 0;
        let mut accepted = 1.0;
        let mut total = 0.0;
        for &(top, probability) in &self.a {
            while let Some(&(bottom, weight)) = self.b.get(refused)
                && !counts(top / bottom)
            {
                accepted -= weight;
                refused += 1;
            }
            if refused == self.b.len() {
                break;
            }
            total += probability * accepted;
        }
        total
    }

    /// The smallest ratio reached with at least this probability.
    fn at(&self, probability: f64) -> f64 {
        let smallest = self.a[0].0 / self.b[self.b.len() - 1].0;
        let largest = self.a[self.a.len() - 1].0 / self.b[0].0;
        // Positive numbers are ordered as their bits are, so halving the bits ends on one exact ratio.
        let (mut low, mut high) = (smallest.to_bits(), largest.to_bits());
        while low < high {
            let middle = low.midpoint(high);
            let bound = f64::from_bits(middle);
            if self.probability(|ratio| ratio <= bound) >= probability {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        f64::from_bits(low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_walk_agrees_with_every_pair() {
        let a: Vec<f64> = (0..23).map(|i| 10.0 + f64::from(i * i % 17)).collect();
        let b: Vec<f64> = (0..30).map(|i| 7.0 + f64::from(i * 5 % 13)).collect();
        let (a, b) = (likely_medians(&Sorted::new(&a).unwrap()), likely_medians(&Sorted::new(&b).unwrap()));
        let mut pairs: Vec<(f64, f64)> =
            a.iter().flat_map(|top| b.iter().map(|bottom| (top.0 / bottom.0, top.1 * bottom.1))).collect();
        pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
        let resampled = ResampledRatio { a, b };
        for bound in [0.9, 1.0, 1.2, 1.5, 2.0] {
            let naive: f64 = pairs.iter().filter(|pair| pair.0 <= bound).map(|pair| pair.1).sum();
            assert!((resampled.probability(|ratio| ratio <= bound) - naive).abs() < 1e-9);
        }
        for probability in [0.003, 0.025, 0.5, 0.9, 0.975] {
            let mut reached = 0.0;
            let naive = pairs.iter().find(|pair| {
                reached += pair.1;
                reached >= probability
            });
            assert_eq!(resampled.at(probability), naive.unwrap().0);
        }
    }

    #[test]
    fn equal_samples_are_a_point() {
        let ratio = ratio_of_medians(&[6.0; 8], &[3.0; 200], 0.95).unwrap();
        assert_eq!((ratio.point, ratio.interval.low, ratio.interval.high), (2.0, 2.0, 2.0));
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let error = |a: &[f64], b: &[f64]| ratio_of_medians(a, b, 0.95).unwrap_err();
        assert_eq!(error(&ten, &ten[..5]), StatsError::TooFewSamples { found: 5, needed: 6 });
        assert_eq!(error(&ten, &[1.0, 0.0]), StatsError::NotPositive { index: 1, value: 0.0 });
        assert_eq!(error(&[-1.0], &ten), StatsError::NotPositive { index: 0, value: -1.0 });
        assert_eq!(error(&[], &ten), StatsError::Empty);
    }

    #[test]
    fn many_samples_give_a_narrow_interval() {
        let a: Vec<f64> = (0..20_000).map(|i| 1.1 * (1.0 + f64::from(i) / 20_000.0)).collect();
        let b: Vec<f64> = (0..10_000).map(|i| 1.0 + f64::from(i) / 10_000.0).collect();
        let ratio = ratio_of_medians(&a, &b, 0.95).unwrap();
        assert!(ratio.interval.contains(1.1) && ratio.interval.high - ratio.interval.low < 0.02, "{ratio:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_point_lies_inside_and_a_power_of_two_passes_through(
            a in prop::collection::vec(1.0..100.0f64, 6..60),
            b in prop::collection::vec(1.0..100.0f64, 6..60),
        ) {
            let ratio = ratio_of_medians(&a, &b, 0.95).unwrap();
            prop_assert!(ratio.interval.contains(ratio.point));
            let quadrupled: Vec<f64> = a.iter().rev().map(|value| value * 4.0).collect();
            let scaled = ratio_of_medians(&quadrupled, &b, 0.95).unwrap();
            prop_assert_eq!(scaled.point, 4.0 * ratio.point);
            prop_assert_eq!(scaled.interval.low, 4.0 * ratio.interval.low);
            prop_assert_eq!(scaled.interval.high, 4.0 * ratio.interval.high);
        }
    }
}
