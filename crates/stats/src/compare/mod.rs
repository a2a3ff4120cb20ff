//! Whether one side of a comparison differs from the other: two runs, or two configurations that took turns.
//!
//! The unit is the block, a stretch of consecutive samples that is told by their median: samples of a stretch resemble
//! each other, so counting each of them as a witness of its own would make every difference look certain.
//!
//! - [`block_medians`] cuts a run's samples into blocks by their order.
//! - [`BlockRatio`]: how many times larger side B is than side A, its bootstrap interval and its exact p-value.
//! - [`benjamini_hochberg`]: p-values of several metrics, so that looking at many finds no more by chance.
//! - [`Judgement`]: better, worse, no difference or cannot tell.
//!
//! `docs/compare.md` has the method, its sources and what it cannot see.

mod blocks;
mod hodges_lehmann;
mod judge;
mod multiplicity;
mod ranks;
mod ratio;

pub use blocks::{Sides, block_medians};
pub use judge::{Basis, Direction, Judgement, Verdict};
pub use multiplicity::benjamini_hochberg;
pub use ratio::{BlockRatio, exact_p_value};

use crate::{DEFAULT_RESAMPLES, DEFAULT_SEED};

/// Blocks that a side is cut into, unless told otherwise.
pub const DEFAULT_BLOCKS: usize = 10;

/// The most blocks of a side: the exact tests weigh every way to share them out.
pub const MOST_BLOCKS: usize = 50;

/// 1 − 0.99 is a little more or less than 0.01, which must not decide anything.
const ROUNDING: f64 = 1e-9;

/// How sure a comparison has to be, and of what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Confidence of the interval; 1 minus it is the most false alarms that are put up with. Below 1, such as 0.99.
    pub confidence: f64,
    /// The smallest difference that matters, as a share: 0.05 is 5 %. Above 0.
    pub min_effect: f64,
    /// Resamples that the interval is drawn from.
    pub resamples: u32,
    /// Start of the draws.
    pub seed: u64,
}

impl Options {
    /// The most false alarms that are put up with.
    pub fn alpha(&self) -> f64 {
        1.0 - self.confidence
    }

    /// Whether a p-value leaves room for better or worse; with any other no interval is worth drawing for them.
    pub fn may_find(&self, p_value: f64) -> bool {
        p_value <= self.alpha() * (1.0 + ROUNDING)
    }
}

impl Default for Options {
    /// One false alarm in a hundred comparisons at most, and differences of 5 % and more.
    fn default() -> Self {
        Self { confidence: 0.99, min_effect: 0.05, resamples: DEFAULT_RESAMPLES, seed: DEFAULT_SEED }
    }
}
