//! How well the samples know their median.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Interval;
use crate::bca::{Jackknife, acceleration, ends};
use crate::binomial::at_least;
use crate::interval::Level;
use crate::sorted::Sorted;

/// How the interval of a median was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MedianMethod {
    /// Bias-corrected and accelerated bootstrap, over the exact distribution of the resampled median.
    BcaBootstrap,
    /// There is no interval: even the whole range of so few samples would fall short of the level.
    TooFewSamples,
}

impl fmt::Display for MedianMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BcaBootstrap => "BCa bootstrap",
            Self::TooFewSamples => "too few samples",
        })
    }
}

/// The BCa interval of the median and how it was made; none, with the reason, when there are too few samples.
///
/// How often it covers the true median depends, without ties, only on the sample count, and can be computed: at 95 %
/// it covers 88 % at 14 samples, 92.8 % at 60, and more than 93.5 % from 100 on. [`order_interval`] always covers.
pub(crate) fn interval(sorted: &Sorted, level: Level) -> (Option<Interval>, MedianMethod) {
    if sorted.len() < least_samples(level) {
        return (None, MedianMethod::TooFewSamples);
    }
    (Some(bca_interval(sorted, level)), MedianMethod::BcaBootstrap)
}

/// The least number of samples whose range encloses their distribution's median with this level: 6 at 95 %.
pub(crate) fn least_samples(level: Level) -> usize {
    // All samples fall on one side of the median with probability 2^-n for either side.
    (-level.tail().log2()).ceil() as usize
}

/// Ranks l and n + 1 − l with the largest l that keeps the level, whatever the distribution.
/// Source: W. J. Conover, Practical Nonparametric Statistics, 3rd ed. (1999), section 3.2.
pub(crate) fn order_interval(sorted: &Sorted, level: Level) -> Option<Interval> {
    let n = sorted.len();
    // The median lies below the sample of rank l when fewer than l samples do, as in n tosses of a coin.
    let miss = |rank: usize| at_least(n as u64, 0.5, (n - rank + 1) as u64);
    let rank = (1..=n / 2).take_while(|&rank| miss(rank) <= level.tail()).last()?;
    Some(level.interval(sorted.at_rank(rank), sorted.at_rank(n + 1 - rank)))
}

fn bca_interval(sorted: &Sorted, level: Level) -> Interval {
    let resampled = ResampledMedian { samples: sorted.len() };
    let median = sorted.median();
    let below = resampled.up_to(sorted.count_below(median));
    let share = (below + resampled.up_to(sorted.count_up_to(median))) / 2.0;
    let (low, high) = ends(share, acceleration(&[Jackknife::new(&left_out(sorted))]), level);
    level.interval(sorted.at_rank(resampled.rank_at(low)), sorted.at_rank(resampled.rank_at(high)))
}

/// The medians without each sample in turn, as `(value, times it occurs)`: there are only two.
///
/// They hardly differ, so the acceleration of a median is next to nothing, and BCa corrects its bias alone.
pub(crate) fn left_out(sorted: &Sorted) -> [(f64, usize); 2] {
    let n = sorted.len();
    let rank = (n - 1).div_ceil(2).max(1);
    let next = (rank + 1).min(n);
    [(sorted.at_rank(next), rank), (sorted.at_rank(rank), n - rank)]
}

/// The distribution of the rank that the median of a resample has among the samples.
///
/// A resample's median is at or below the sample of rank k when at least half of its n draws are, and each is with
/// probability k/n. That is the limit which drawing ever more resamples approaches, so nothing need be drawn.
/// Source: J. S. Maritz and R. G. Jarrett, JASA 73 (1978).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResampledMedian {
    pub(crate) samples: usize,
}

impl ResampledMedian {
    /// The probability of a rank of `rank` or less; takes about √n steps.
    pub(crate) fn up_to(self, rank: usize) -> f64 {
        let n = self.samples as u64;
        at_least(n, rank as f64 / n as f64, n.div_ceil(2))
    }

    /// The lowest rank that is reached with at least this probability.
    pub(crate) fn rank_at(self, probability: f64) -> usize {
        let (mut low, mut high) = (1, self.samples);
        while low < high {
            let middle = low.midpoint(high);
            if self.up_to(middle) >= probability {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEFAULT_SEED, bca};

    fn steps(n: usize) -> Sorted {
        Sorted::new(&(1..=n).map(|rank| rank as f64).collect::<Vec<_>>()).unwrap()
    }

    /// Probability that the interval encloses the true median of any continuous distribution.
    fn coverage(n: usize, interval: Interval) -> f64 {
        // Samples that are their own ranks make the ends the ranks.
        let at_least = |rank: f64| at_least(n as u64, 0.5, rank as u64);
        at_least(interval.low) - at_least(interval.high)
    }

    #[test]
    fn the_exact_interval_covers_the_true_median_at_least_as_often_as_it_says() {
        for n in (6..400).chain([1000, 5001]) {
            let covered = coverage(n, order_interval(&steps(n), Level::NINETY_FIVE).unwrap());
            assert!((0.95..0.993).contains(&covered), "{n}: {covered}");
        }
    }

    #[test]
    fn the_bootstrap_covers_nearly_as_often_as_it_says() {
        for n in (100..400).chain([1000, 5001, 20_000]) {
            let (interval, method) = interval(&steps(n), Level::NINETY_FIVE);
            let covered = coverage(n, interval.unwrap());
            assert_eq!(method, MedianMethod::BcaBootstrap);
            assert!((0.935..0.965).contains(&covered), "{n}: {covered}");
        }
    }

    #[test]
    fn the_bootstrap_falls_short_with_few_samples() {
        let covered = |n| coverage(n, bca_interval(&steps(n), Level::NINETY_FIVE));
        assert!((covered(14) - 0.8815).abs() < 1e-4, "{}", covered(14));
        assert!((covered(30) - 0.9292).abs() < 1e-4, "{}", covered(30));
        assert!((covered(60) - 0.9278).abs() < 1e-4, "{}", covered(60));
    }

    /// Table of ranks for the 95 % interval of a median in statistics textbooks.
    #[test]
    fn published_ranks() {
        for (n, low, high) in
            [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0), (25, 8.0, 18.0), (30, 10.0, 21.0)]
        {
            let interval = order_interval(&steps(n), Level::NINETY_FIVE).unwrap();
            assert_eq!((interval.low, interval.high), (low, high), "{n}");
        }
    }

    #[test]
    fn too_few_samples_have_no_interval() {
        assert_eq!(least_samples(Level::NINETY_FIVE), 6);
        for n in 1..6 {
            assert_eq!(interval(&steps(n), Level::NINETY_FIVE), (None, MedianMethod::TooFewSamples));
        }
        let strict = Level::new(0.99).unwrap();
        let least = least_samples(strict);
        assert_eq!(interval(&steps(least - 1), strict).0, None);
        assert!(interval(&steps(least), strict).0.is_some());
    }

    /// Drawing approaches the exact distribution: the ends are at most one rank apart.
    #[test]
    fn agrees_with_the_bootstrap_by_drawing() {
        for n in [9, 30, 61] {
            let sorted = steps(n);
            let median = |part: &[f64]| {
                let mut part = part.to_vec();
                *part.select_nth_unstable_by((n - 1) / 2, f64::total_cmp).1
            };
            let drawn = bca(sorted.values(), median, 0.95, 4000, DEFAULT_SEED).unwrap();
            let exact = bca_interval(&sorted, Level::NINETY_FIVE);
            assert!((drawn.low - exact.low).abs() <= 1.0, "{n}: {drawn:?} {exact:?}");
            assert!((drawn.high - exact.high).abs() <= 1.0, "{n}: {drawn:?} {exact:?}");
        }
    }

    #[test]
    fn left_out_medians_are_those_of_leaving_out() {
        for samples in
            [vec![1.0, 2.0], vec![1.0, 2.0, 3.0], vec![1.0, 2.0, 2.0, 5.0], vec![1.0, 3.0, 4.0, 8.0, 9.0]]
        {
            let mut naive: Vec<f64> = (0..samples.len())
                .map(|index| {
                    let mut rest = samples.clone();
                    rest.remove(index);
                    Sorted::new(&rest).unwrap().median()
                })
                .collect();
            naive.sort_by(f64::total_cmp);
            let mut found: Vec<f64> = left_out(&Sorted::new(&samples).unwrap())
                .into_iter()
                .flat_map(|(value, times)| std::iter::repeat_n(value, times))
                .collect();
            found.sort_by(f64::total_cmp);
            assert_eq!(found, naive);
        }
    }

    #[test]
    fn equal_samples_are_a_point() {
        for n in [6, 7, 50, 100, 101, 1000] {
            let found = interval(&Sorted::new(&vec![3.5; n]).unwrap(), Level::NINETY_FIVE).0.unwrap();
            assert_eq!((found.low, found.high), (3.5, 3.5));
        }
    }
}
