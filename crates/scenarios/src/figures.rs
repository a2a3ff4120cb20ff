//! The figures that reports give, each computed from raw samples and rounded to the unit in its name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::Sample;
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

/// One part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseFigures {
    /// What happened in it: `prepare`, `spawn`, `exec`.
    pub name: String,
    /// Its share of all measured time, from 0 to 1.
    pub share: f64,
    /// Its figures, over the samples that have it.
    #[serde(flatten)]
    pub figures: NsFigures,
}

/// Figures of a set of sizes, in whole bytes. Percentiles are nearest-rank: each is one of the samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByteFigures {
    /// Number of samples.
    pub count: u64,
    /// Smallest sample.
    pub min_bytes: u64,
    /// Median: the lower of the middle two when their number is even.
    pub p50_bytes: u64,
    /// 95th percentile.
    pub p95_bytes: u64,
    /// Largest sample.
    pub max_bytes: u64,
    /// Arithmetic mean.
    pub mean_bytes: u64,
}

impl ByteFigures {
    /// From a summary of bytes.
    pub fn new(summary: &Summary) -> Self {
        Self {
            count: summary.count,
            min_bytes: whole(summary.min),
            p50_bytes: whole(summary.p50.value),
            p95_bytes: whole(summary.p95.value),
            max_bytes: whole(summary.max),
            mean_bytes: whole(summary.mean),
        }
    }
}

/// Figures of each phase of the successes, in the order of first occurrence.
pub(crate) fn phases(samples: &[&Sample], total_ns: f64) -> Result<Vec<PhaseFigures>, StatsError> {
    let mut names: Vec<&str> = Vec::new();
    let mut times_ns: Vec<Vec<f64>> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.outcome.value().is_some()) {
        let mut seen: BTreeMap<usize, f64> = BTreeMap::new();
        for phase in &sample.phases {
            let position = names.iter().position(|name| *name == phase.name).unwrap_or_else(|| {
                names.push(&phase.name);
                times_ns.push(Vec::new());
                names.len() - 1
            });
            // A phase that occurs twice in one machine is one time.
            *seen.entry(position).or_default() += phase.duration_ns as f64;
        }
        for (position, time_ns) in seen {
            times_ns[position].push(time_ns);
        }
    }
    let figures = |(name, times_ns): (&str, Vec<f64>)| {
        let share = if total_ns > 0.0 { times_ns.iter().sum::<f64>() / total_ns } else { 0.0 };
        let figures = NsFigures::new(&Summary::from_samples(&times_ns)?);
        Ok(PhaseFigures { name: name.into(), share, figures })
    };
    names.into_iter().zip(times_ns).map(figures).collect()
}

/// How often each thing occurs.
pub(crate) fn count<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

/// The summary of values; none when there are none.
pub(crate) fn summary(values: &[f64]) -> Result<Option<Summary>, StatsError> {
    if values.is_empty() { Ok(None) } else { Summary::from_samples(values).map(Some) }
}

/// The nearest whole number; times are never negative.
fn whole(value: f64) -> u64 {
    value.round() as u64
}
