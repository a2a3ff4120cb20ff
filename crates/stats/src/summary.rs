//! Everything a table shows about one set of samples.

use serde::{Deserialize, Serialize};

use crate::interval::Level;
use crate::median::{self, MedianMethod};
use crate::moments::mean_and_stddev;
use crate::percentile::{Percentile, whole};
use crate::sorted::Sorted;
use crate::{Interval, Outliers, StatsError};

/// The figures of one set of raw samples, none of them trimmed, in the unit of the samples.
///
/// The order of the samples plays no part. Nothing is drawn at random.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of samples.
    pub count: u64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// Arithmetic mean, outliers included.
    pub mean: f64,
    /// Sample standard deviation (divisor n − 1); none for a single sample.
    pub stddev: Option<f64>,
    /// Nearest-rank median, an observed value: the lower of the middle two when their number is even.
    pub median: f64,
    /// Median absolute deviation: the nearest-rank median of the distances to `median`. Not scaled; times 1.4826 it
    /// estimates the standard deviation of normally distributed samples.
    pub mad: f64,
    /// 50th percentile; the same value as `median`, with its mark.
    pub p50: Percentile,
    /// 90th percentile.
    pub p90: Percentile,
    /// 95th percentile.
    pub p95: Percentile,
    /// 99th percentile.
    pub p99: Percentile,
    /// Samples beyond Tukey's fences, counted and kept.
    pub outliers: Outliers,
    /// BCa bootstrap interval of the median at 95 %, its ends two of the samples.
    ///
    /// It is taken from the exact distribution of the resampled median, which ever more resamples approach: nothing is
    /// drawn, so there is no seed. With fewer than 6 samples there is none: their whole range would not reach 95 %.
    pub median_ci95: Option<Interval>,
    /// How `median_ci95` was computed, or why there is none.
    pub median_ci95_method: MedianMethod,
    /// Interval between two samples that holds the true median with at least 95 % confidence, whatever the
    /// distribution; none with fewer than 6 samples.
    ///
    /// Wider than `median_ci95`, which falls short of its level with few samples (92.9 % of 95 % at 30).
    pub median_ci95_exact: Option<Interval>,
}

impl Summary {
    /// Computes every figure from the raw samples.
    ///
    /// Takes the time of sorting them; all that follows is linear or less.
    ///
    /// # Errors
    /// When there are no samples, or one is not finite or beyond ±1e150.
    pub fn from_samples(samples: &[f64]) -> Result<Self, StatsError> {
        let sorted = Sorted::new(samples)?;
        let (mean, stddev) = mean_and_stddev(&sorted);
        let (median_ci95, median_ci95_method) = median::interval(&sorted, Level::NINETY_FIVE);
        Ok(Self {
            count: sorted.len() as u64,
            min: sorted.min(),
            max: sorted.max(),
            mean,
            stddev,
            median: sorted.median(),
            mad: median_absolute_deviation(&sorted),
            p50: whole(&sorted, 50),
            p90: whole(&sorted, 90),
            p95: whole(&sorted, 95),
            p99: whole(&sorted, 99),
            outliers: Outliers::of(&sorted),
            median_ci95,
            median_ci95_method,
            median_ci95_exact: median::order_interval(&sorted, Level::NINETY_FIVE),
        })
    }
}

fn median_absolute_deviation(sorted: &Sorted) -> f64 {
    let median = sorted.median();
    let mut distances: Vec<f64> = sorted.values().iter().map(|value| (value - median).abs()).collect();
    let middle = distances.len().div_ceil(2) - 1;
    *distances.select_nth_unstable_by(middle, f64::total_cmp).1
}
