//! What a ratio comes to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BlockRatio, Options};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better: throughput.
    Higher,
    /// Less is better: time, memory.
    Lower,
}

/// What a comparison comes to, of side B against side A.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// B is better, and by enough to matter.
    Better,
    /// The blocks do not decide it.
    CannotTell,
    /// A difference, if there is one, is smaller than what matters.
    NoDifference,
    /// B is worse, and by enough to matter.
    Worse,
}

/// Why it comes to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A difference is there, but whether it is large enough to matter is not known.
    AroundMinimum,
    /// The p-value is at most α, the interval is without 1, and the ratio is beyond the smallest difference that matters.
    Clear,
    /// So few blocks could not show a difference, however large, or not one among so many metrics.
    TooFewBlocks,
    /// The interval has both no difference and one that matters, or the p-value is above α.
    TooWide,
    /// The whole interval is within the smallest difference that matters.
    Within,
}

/// A verdict, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// What it comes to.
    pub verdict: Verdict,
    /// Why.
    pub basis: Basis,
}

impl Judgement {
    /// Judges a ratio by its p-value as it counts among all that were looked at.
    ///
    /// `metrics` is how many those were. A ratio matters from 1 + `min_effect` up and from 1 / (1 + `min_effect`) down,
    /// so that swapping the sides swaps better and worse. See [`Basis`] for the rules.
    pub fn new(
        ratio: &BlockRatio,
        adjusted_p_value: f64,
        metrics: usize,
        direction: Direction,
        options: &Options,
    ) -> Self {
        let judgement = |verdict, basis| Self { verdict, basis };
        let (least, most) = (1.0 / (1.0 + options.min_effect), 1.0 + options.min_effect);
        let interval = ratio.interval;
        let may_find = |p_value| options.may_find(p_value);
        if !may_find(ratio.least_p_value) {
            return judgement(Verdict::CannotTell, Basis::TooFewBlocks);
        }
        if least < interval.low && interval.high < most {
            return judgement(Verdict::NoDifference, Basis::Within);
        }
        // A difference in one of several metrics is adjusted by their number.
        let is_found = may_find(adjusted_p_value);
        if !is_found && may_find(ratio.p_value) && !may_find(ratio.least_p_value * metrics as f64) {
            return judgement(Verdict::CannotTell, Basis::TooFewBlocks);
        }
        if !is_found || interval.contains(1.0) {
            return judgement(Verdict::CannotTell, Basis::TooWide);
        }
        if ratio.point < most && ratio.point > least {
            return judgement(Verdict::CannotTell, Basis::AroundMinimum);
        }
        let verdict = match (ratio.point > 1.0, direction) {
            (true, Direction::Higher) | (false, Direction::Lower) => Verdict::Better,
            (true, Direction::Lower) | (false, Direction::Higher) => Verdict::Worse,
        };
        judgement(verdict, Basis::Clear)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Better => "better",
            Self::CannotTell => "cannot tell",
            Self::NoDifference => "no difference",
            Self::Worse => "worse",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interval;

    fn judge(low: f64, point: f64, high: f64, p_value: f64) -> Judgement {
        let interval = Interval { low, high, level: 0.99 };
        let ratio = BlockRatio { point, interval, p_value, least_p_value: 2.0 / 1024.0 };
        Judgement::new(&ratio, p_value, 1, Direction::Lower, &Options::default())
    }

    fn is(verdict: Verdict, basis: Basis) -> Judgement {
        Judgement { verdict, basis }
    }

    #[test]
    fn each_basis_has_its_rule() {
        assert_eq!(judge(1.06, 1.10, 1.15, 0.002), is(Verdict::Worse, Basis::Clear));
        assert_eq!(judge(0.85, 0.90, 0.94, 0.002), is(Verdict::Better, Basis::Clear));
        assert_eq!(judge(0.97, 1.00, 1.03, 0.9), is(Verdict::NoDifference, Basis::Within));
        // Certain, and too small to matter.
        assert_eq!(judge(1.01, 1.02, 1.03, 0.002), is(Verdict::NoDifference, Basis::Within));
        assert_eq!(judge(1.02, 1.04, 1.08, 0.002), is(Verdict::CannotTell, Basis::AroundMinimum));
        assert_eq!(judge(0.90, 1.01, 1.20, 0.7), is(Verdict::CannotTell, Basis::TooWide));
        assert_eq!(judge(1.01, 1.10, 1.20, 0.02), is(Verdict::CannotTell, Basis::TooWide));
        assert_eq!(judge(0.99, 1.10, 1.20, 0.002), is(Verdict::CannotTell, Basis::TooWide));
    }

    #[test]
    fn where_more_is_better_the_verdict_turns_around() {
        let interval = Interval { low: 1.06, high: 1.2, level: 0.99 };
        let ratio = BlockRatio { point: 1.1, interval, p_value: 0.002, least_p_value: 0.002 };
        let judge = |direction, adjusted, metrics| {
            Judgement::new(&ratio, adjusted, metrics, direction, &Options::default())
        };
        assert_eq!(judge(Direction::Higher, 0.002, 1).verdict, Verdict::Better);
        assert_eq!(judge(Direction::Lower, 0.01, 5).verdict, Verdict::Worse);
        assert_eq!(judge(Direction::Lower, 0.012, 6), is(Verdict::CannotTell, Basis::TooFewBlocks));
        // Where all six differ none is held back by their number.
        assert_eq!(judge(Direction::Lower, 0.002, 6).verdict, Verdict::Worse);
    }

    /// The p-value 10 / 1024 of ten pairs is allowed at 99 %, and one of exactly α as well.
    #[test]
    fn alpha_itself_is_allowed() {
        assert_eq!(judge(1.06, 1.1, 1.2, 0.01).verdict, Verdict::Worse);
        assert_eq!(judge(1.06, 1.1, 1.2, 0.010_001).verdict, Verdict::CannotTell);
    }
}
