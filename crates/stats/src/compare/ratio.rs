//! How many times larger one side is than the other.

use serde::{Deserialize, Serialize};

use super::blocks::{Logarithms, Sides};
use super::hodges_lehmann::Twos;
use super::{Options, ranks};
use crate::bca::{acceleration, ends};
use crate::interval::Level;
use crate::{Interval, StatsError};

/// Side B as a multiple of side A.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BlockRatio {
    /// The middle of all quotients of blocks (Hodges and Lehmann); 1 when neither side is larger. No unit.
    pub point: f64,
    /// BCa bootstrap interval of the ratio, drawn from the blocks.
    pub interval: Interval,
    /// Probability of sides at least so far apart if they did not differ: exact, two-sided, from the signed-rank test of
    /// pairs or the rank-sum test of separate sides.
    pub p_value: f64,
    /// The least p-value that so many blocks could have had.
    pub least_p_value: f64,
}

impl BlockRatio {
    /// Compares the blocks of two sides.
    ///
    /// Draws come from xoshiro256++ started from the options' seed and are the same on every machine. Swapping the sides
    /// turns the point around and leaves the p-value as it is.
    ///
    /// # Errors
    /// When a figure is not finite, not positive (at least 1e-150) or beyond 1e150; with fewer than 2 or more than
    /// [`MOST_BLOCKS`](super::MOST_BLOCKS) blocks of a side; when the confidence is not above 0 and at most 0.999999, or
    /// the resamples are fewer than 2 / (1 − confidence).
    pub fn new(sides: Sides<'_>, options: &Options) -> Result<Self, StatsError> {
        let level = Level::new(options.confidence)?;
        let needed = (1.0 / level.tail()).round() as u32;
        if options.resamples < needed {
            return Err(StatsError::TooFewResamples { found: options.resamples, needed });
        }
        let logarithms = sides.logarithms()?;
        let least_p_value = match &logarithms {
            Logarithms::Paired(differences) => ranks::least_signed_rank(differences.len()),
            Logarithms::Separate { a, b } => ranks::least_rank_sum(a.len(), b.len()),
        };
        let p_value = test(&logarithms);
        let twos = Twos::new(&logarithms);
        let middle = twos.middle();
        let interval = interval(&twos, middle, level, options);
        Ok(Self { point: middle.exp(), interval, p_value, least_p_value })
    }
}

/// The p-value of [`BlockRatio`] alone, which needs no draws.
///
/// # Errors
/// Those of [`BlockRatio::new`] that are about the blocks.
pub fn exact_p_value(sides: Sides<'_>) -> Result<f64, StatsError> {
    Ok(test(&sides.logarithms()?))
}

fn test(sides: &Logarithms) -> f64 {
    match sides {
        Logarithms::Paired(differences) => ranks::signed_rank(differences),
        Logarithms::Separate { a, b } => ranks::rank_sum(a, b),
    }
}

fn interval(twos: &Twos, middle: f64, level: Level, options: &Options) -> Interval {
    let drawn = twos.resampled(options.resamples, options.seed);
    let total = drawn.len() as f64;
    let below = drawn.partition_point(|&value| value < middle) as f64;
    let up_to = drawn.partition_point(|&value| value <= middle) as f64;
    // A middle outside of all resamples, which only a handful of them could miss, counts as at their edge.
    let share = ((below + up_to) / 2.0 / total).clamp(0.5 / total, 1.0 - 0.5 / total);
    let (low, high) = ends(share, acceleration(&twos.jackknives()), level);
    let at =
        |probability: f64| drawn[((probability * total).ceil() as usize).clamp(1, drawn.len()) - 1].exp();
    level.interval(at(low), at(high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quick() -> Options {
        Options { resamples: 400, ..Options::default() }
    }

    #[test]
    fn a_constant_factor_is_a_point() {
        let a = [10.0, 12.0, 9.0, 30.0, 11.0, 10.5, 8.0, 14.0];
        let pairs: Vec<(f64, f64)> = a.iter().map(|figure| (*figure, 2.0 * figure)).collect();
        let ratio = BlockRatio::new(Sides::Paired(&pairs), &Options::default()).unwrap();
        assert_eq!((ratio.point, ratio.interval.low, ratio.interval.high), (2.0, 2.0, 2.0));
        assert_eq!(ratio.p_value, 2.0 / 256.0);
        // Without the pairs the spread of the blocks is in the way.
        let b = a.map(|figure| 2.0 * figure);
        let ratio = BlockRatio::new(Sides::Separate { a: &a, b: &b }, &Options::default()).unwrap();
        assert!(ratio.interval.low < 1.5 && ratio.interval.contains(2.0), "{ratio:?}");
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let pairs = [(1.0, 2.0); 10];
        let new = |options: Options| BlockRatio::new(Sides::Paired(&pairs), &options).unwrap_err();
        assert_eq!(
            new(Options { resamples: 199, ..Options::default() }),
            StatsError::TooFewResamples { found: 199, needed: 200 }
        );
        assert_eq!(
            new(Options { confidence: 1.0, ..Options::default() }),
            StatsError::LevelOutOfRange { level: 1.0 }
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_point_lies_inside_and_swapping_the_sides_turns_it_around(
            pairs in prop::collection::vec((1.0..100.0f64, 1.0..100.0f64), 4..20),
            is_paired in any::<bool>(),
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
            let turned: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            let (there, back) = if is_paired {
                (Sides::Paired(&pairs), Sides::Paired(&turned))
            } else {
                (Sides::Separate { a: &a, b: &b }, Sides::Separate { a: &b, b: &a })
            };
            let (there, back) =
                (BlockRatio::new(there, &quick()).unwrap(), BlockRatio::new(back, &quick()).unwrap());
            prop_assert!(there.interval.low <= there.point * (1.0 + 1e-12), "{:?}", there);
            prop_assert!(there.interval.high >= there.point * (1.0 - 1e-12), "{:?}", there);
            prop_assert!((there.point * back.point - 1.0).abs() < 1e-9, "{:?} {:?}", there, back);
            prop_assert!((there.p_value - back.p_value).abs() < 1e-12);
            prop_assert!(there.p_value >= there.least_p_value * (1.0 - 1e-9));
        }

        /// A machine that is slower in some blocks, for both sides, changes nothing where blocks are pairs.
        #[test]
        fn what_both_sides_of_a_pair_have_falls_out(
            pairs in prop::collection::vec((1.0..100.0f64, 1.0..100.0f64), 8..12),
            factors in prop::collection::vec(-3..3i32, 12),
        ) {
            let slowed: Vec<(f64, f64)> = pairs
                .iter()
                .zip(&factors)
                .map(|((a, b), power)| (a * 2f64.powi(*power), b * 2f64.powi(*power)))
                .collect();
            let new = |pairs: &[(f64, f64)]| BlockRatio::new(Sides::Paired(pairs), &quick()).unwrap();
            prop_assert_eq!(new(&pairs), new(&slowed));
        }
    }
}
