//! The figures that reports give, each computed from raw samples and rounded to the unit in its name.

use serde::{Deserialize, Serialize};
use virtmark_stats::{Interval, MedianMethod, StatsError, Summary};

/// Figures of a set of times, in whole nanoseconds. Percentiles are nearest-rank: each is one of the samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NsFigures {
    /// Number of samples.
    pub count: u64,
    /// Smallest sample.
    pub min_ns: u64,
    /// Median: the lower of the middle two when their number is even.
    pub p50_ns: u64,
    /// 95th percentile.
    pub p95_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Largest sample.
    pub max_ns: u64,
    /// Arithmetic mean.
    pub mean_ns: u64,
    /// Sample standard deviation; none for a single sample.
    pub stddev_ns: Option<u64>,
}

impl NsFigures {
    /// From a summary of nanoseconds.
    pub fn new(summary: &Summary) -> Self {
        Self {
            count: summary.count,
            min_ns: whole(summary.min),
            p50_ns: whole(summary.p50.value),
            p95_ns: whole(summary.p95.value),
            p99_ns: whole(summary.p99.value),
            max_ns: whole(summary.max),
            mean_ns: whole(summary.mean),
            stddev_ns: summary.stddev.map(whole),
        }
    }
}

/// Figures of a set of times, in milliseconds. Percentiles are nearest-rank: each is one of the samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MsFigures {
    /// Number of samples.
    pub count: u64,
    /// Smallest sample.
    pub min: f64,
    /// Median: the lower of the middle two when their number is even.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest sample.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation; none for a single sample.
    pub stddev: Option<f64>,
    /// 95 % confidence interval of the median; none when there are too few samples.
    pub median_ci95: Option<Interval>,
    /// Which percentiles the sample count supports.
    pub percentiles_supported: Supported,
}

impl MsFigures {
    /// From times in milliseconds.
    ///
    /// # Errors
    /// When there are none, or one is not a finite number.
    pub fn from_samples(samples_ms: &[f64]) -> Result<Self, StatsError> {
        let summary = Summary::from_samples(samples_ms)?;
        Ok(Self {
            count: summary.count,
            min: summary.min,
            p50: summary.p50.value,
            p95: summary.p95.value,
            p99: summary.p99.value,
            max: summary.max,
            mean: summary.mean,
            stddev: summary.stddev,
            median_ci95: summary.median_ci95,
            percentiles_supported: Supported::new(&summary),
        })
    }
}

/// Which percentiles a sample count supports: p99 needs 100 samples, p95 needs 20, p50 needs 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supported {
    /// Whether p50 is supported.
    pub p50: bool,
    /// Whether p95 is supported.
    pub p95: bool,
    /// Whether p99 is supported.
    pub p99: bool,
}

impl Supported {
    /// As the summary marks them.
    pub fn new(summary: &Summary) -> Self {
        Self { p50: summary.p50.supported, p95: summary.p95.supported, p99: summary.p99.supported }
    }
}

/// Confidence interval of a median, in whole nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MedianInterval {
    /// Lower end.
    pub low_ns: u64,
    /// Upper end.
    pub high_ns: u64,
    /// Confidence level, between 0 and 1.
    pub level: f64,
    /// How it was computed.
    pub method: MedianMethod,
}

impl MedianInterval {
    /// From a summary of nanoseconds; none when there are too few samples.
    pub fn new(summary: &Summary) -> Option<Self> {
        let interval = summary.median_ci95?;
        Some(Self {
            low_ns: whole(interval.low),
            high_ns: whole(interval.high),
            level: interval.level,
            method: summary.median_ci95_method,
        })
    }
}

/// The nearest whole number; times are never negative.
fn whole(value: f64) -> u64 {
    value.round() as u64
}
