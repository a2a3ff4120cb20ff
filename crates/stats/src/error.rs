//! Why a figure could not be computed.

/// Why a figure could not be computed from the samples given.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// There are no samples.
    #[error("cannot compute a figure from no samples: measure at least once")]
    Empty,
    /// The confidence level is outside what can be computed.
    #[error(
        "cannot compute an interval of level {level}: give a level above 0 and at most 0.999999, such as 0.95"
    )]
    LevelOutOfRange {
        /// The level asked for.
        level: f64,
    },
    /// A sample is NaN or infinite.
    #[error("cannot use sample {index}: {value} is not a finite number; failures must not enter the samples")]
    NotFinite {
        /// Position of the sample, from 0.
        index: usize,
        /// The sample.
        value: f64,
    },
    /// A sample of a ratio is zero, negative, or too small to divide by.
    #[error("cannot form a ratio with sample {index}: {value} is not positive (at least 1e-150)")]
    NotPositive {
        /// Position of the sample, from 0, in the set it came from.
        index: usize,
        /// The sample.
        value: f64,
    },
    /// The percentile asked for is not between 0 and 100.
    #[error("cannot compute percentile {p}: give a number from 0 to 100")]
    PercentileOutOfRange {
        /// The percentile asked for.
        p: f64,
    },
    /// The statistic of all samples lies outside every resampled one, so its bias cannot be estimated.
    #[error(
        "cannot compute a BCa interval: the statistic of the samples ({point}) lies outside that of every resample; \
         use a statistic that resampling does not bias"
    )]
    StatisticBiased {
        /// The statistic of the samples as given.
        point: f64,
    },
    /// The statistic was NaN, infinite or beyond ±1e300 for the samples or a part or resample of them.
    #[error(
        "cannot compute a BCa interval: the statistic was {value} for some resample of the samples; \
         it must be defined for every one"
    )]
    StatisticNotFinite {
        /// What the statistic returned.
        value: f64,
    },
    /// A sample is too large for its square to be summed.
    #[error("cannot use sample {index}: {value} is beyond ±1e150; choose a larger unit")]
    TooLarge {
        /// Position of the sample, from 0.
        index: usize,
        /// The sample.
        value: f64,
    },
    /// Too few resamples to place the ends of an interval of this level.
    #[error("cannot compute a BCa interval from {found} resamples: this level needs at least {needed}")]
    TooFewResamples {
        /// Resamples asked for.
        found: u32,
        /// Least number of resamples for the level.
        needed: u32,
    },
    /// More blocks than the exact tests can weigh.
    #[error("cannot compare {found} blocks: join them into at most {most}")]
    TooManyBlocks {
        /// Blocks given.
        found: usize,
        /// The most there may be.
        most: usize,
    },
    /// Too few samples for the figure.
    #[error("cannot compute this figure from {found} samples: measure at least {needed} times")]
    TooFewSamples {
        /// Samples given.
        found: usize,
        /// Least number of samples.
        needed: usize,
    },
}
