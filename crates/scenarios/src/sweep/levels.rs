//! The rows of a sweep by level: medians and ranges over the repeats, what failed, and where the knee is.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use thiserror::Error;
use virtmark_stats::knee::{self, Analysis, Finding, LevelsError, Metric};
use virtmark_stats::{StatsError, percentile};

use super::grouping::{key_of, label, level_of, series, unmeasured};
use super::row::Row;

/// What is said of the rows of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// One for each size of machine, smallest first, and for whatever else tells rows apart; at least one.
    pub series: Vec<Series>,
    /// When the first run started.
    pub started_at: Option<Timestamp>,
    /// Runs, with those that failed.
    pub runs: usize,
    /// What the rows warn of, each once.
    pub warnings: Vec<String>,
}

/// What one size of machine reached, beside the smallest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalingPoint {
    /// Virtual processors.
    pub vcpus: u32,
    /// The level with the highest median throughput.
    pub level: f64,
    /// Its throughput, requests per second.
    pub qps: Spread,
    /// Throughput over that of the smallest size.
    pub speedup: f64,
    /// Virtual processors over those of the smallest size.
    pub ideal: f64,
}

/// Rows that differ by nothing but their level and repeat.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the rows share.
    pub key: SeriesKey,
    /// What sets it apart from the others of its sweep: `4 vCPUs`. Empty when it is the only one.
    pub label: String,
    /// Every level, lowest first.
    pub levels: Vec<LevelFigures>,
    /// The knee and all that is said of it, or why nothing is.
    pub analysis: Finding<Analysis>,
    /// Highest resident memory of all rows, KiB.
    pub ru_maxrss_kib: Option<u64>,
    /// Where the rows ran.
    pub platform: Option<String>,
    /// Whether that was software emulation.
    pub emulated: bool,
    /// How long a run was to last, seconds; none when rows differ or none says.
    pub duration_sec: Option<f64>,
}

/// What the rows of a series share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesKey {
    /// What was driven.
    pub plan: String,
    /// Whether levels are rates of an open loop.
    pub open_loop: bool,
    /// Virtual processors.
    pub vcpus: Option<u32>,
    /// Whether the target's scheduler was asynchronous.
    pub asynchronous: Option<bool>,
    /// Threads of the target's CPU pool.
    pub cpu_threads: Option<u32>,
    /// Threads of the target's I/O pool.
    pub io_threads: Option<u32>,
}

/// One level.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelFigures {
    /// Requests in flight, or requests that were to start per second.
    pub level: f64,
    /// Its assessment; none when no run of it counts.
    pub assessment: Option<knee::Assessment>,
    /// Runs that count.
    pub runs: usize,
    /// Runs that failed or were killed; they enter no figure.
    pub failed: Vec<FailedRun>,
    /// Runs that count, with a throughput of 0, although no request failed: none ended.
    pub idle: Vec<FailedRun>,
    /// Requests that succeeded, per second.
    pub qps: Option<Spread>,
    /// Latency percentiles, nanoseconds.
    pub p50_ns: Option<Spread>,
    /// 90th percentile.
    pub p90_ns: Option<Spread>,
    /// 99th percentile.
    pub p99_ns: Option<Spread>,
    /// Whether a p99 is of fewer requests than support one: 100.
    pub p99_of_few: bool,
    /// Largest latency.
    pub max_ns: Option<Spread>,
    /// Share of the requests of all its runs that failed or were dropped; none when that was not counted.
    pub error_ratio: Option<f64>,
    /// Requests that failed in all its runs, by class.
    pub errors: BTreeMap<String, u64>,
    /// One message of each class of failure.
    pub error_messages: BTreeMap<String, String>,
    /// Requests of an open loop that were never sent.
    pub dropped: Option<u64>,
    /// Requests of an open loop that were sent late.
    pub late: Option<u64>,
    /// How late the generator itself was, 99th percentile of its worst run, nanoseconds.
    pub lag_p99_ns: Option<u64>,
    /// Highest resident memory of its runs, KiB.
    pub ru_maxrss_kib: Option<u64>,
    /// What the load generator itself cost in its worst run.
    pub generator: Option<GeneratorCost>,
}

/// What the load generator itself costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GeneratorCost {
    /// Its CPU time over the time that was measured: 0.5 is half a CPU.
    Cpus(f64),
    /// The time of a call that does nothing, nanoseconds.
    EmptyCall(f64),
}

/// A figure over the repeats of a level: each was observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Nearest-rank median; with an even number of repeats the lower of the middle two.
    pub median: f64,
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

/// A run that has no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRun {
    /// Which repeat.
    pub run_idx: Option<u32>,
    /// Why.
    pub why: String,
}

/// Why nothing can be said of rows.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SweepError {
    /// There are no rows.
    #[error("there are no runs in it; measure at least one level")]
    Empty,
    /// A row has no level.
    #[error(
        "run {number} ({plan}) has neither a concurrency nor a rate; the rate of an open loop is in the .jsonl alone"
    )]
    NoLevel {
        /// The position of the row, from 1.
        number: usize,
        /// What it drove.
        plan: String,
    },
    /// An objective is about what rows did not measure.
    #[error("the objective is about {metric}, which run {number} ({plan}) did not measure")]
    NotMeasured {
        /// What it is about.
        metric: Metric,
        /// The position of the row, from 1.
        number: usize,
        /// What it drove.
        plan: String,
    },
    /// Figures that are none.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// Levels that are none.
    #[error(transparent)]
    Levels(#[from] LevelsError),
}

impl Sweep {
    /// Sorts rows into series and levels, and looks for the knee of each.
    ///
    /// # Errors
    /// [`SweepError::Empty`] without rows, [`SweepError::NoLevel`] for a row without concurrency and rate, and
    /// [`SweepError::NotMeasured`] when the objective is about a percentile that a run with successes lacks.
    pub fn from_rows(rows: &[Row], options: &knee::Options) -> Result<Self, SweepError> {
        if rows.is_empty() {
            return Err(SweepError::Empty);
        }
        let mut by_key: BTreeMap<SeriesKey, Vec<&Row>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            let number = index + 1;
            if level_of(row).is_none() {
                return Err(SweepError::NoLevel { number, plan: row.plan.clone() });
            }
            if let Some(metric) = options.slo.as_ref().and_then(|slo| unmeasured(row, slo)) {
                return Err(SweepError::NotMeasured { metric, number, plan: row.plan.clone() });
            }
            by_key.entry(key_of(row)).or_default().push(row);
        }
        let keys: Vec<SeriesKey> = by_key.keys().cloned().collect();
        let series = by_key.into_iter().map(|(key, rows)| {
            let label = label(&key, &keys);
            series(key, label, &rows, options)
        });
        let mut warnings: Vec<String> = Vec::new();
        for warning in rows.iter().flat_map(|row| &row.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        Ok(Self {
            series: series.collect::<Result<_, _>>()?,
            started_at: rows.iter().filter_map(|row| row.ts).min(),
            runs: rows.len(),
            warnings,
        })
    }

    /// What each size of machine reached, smallest first; empty unless the series differ by their size, and two or more
    /// have a success.
    pub fn scaling(&self) -> Vec<ScalingPoint> {
        let alike = |key: &SeriesKey| (key.plan.clone(), key.open_loop, key.asynchronous);
        let first = &self.series[0].key;
        let mut sizes: Vec<u32> = self.series.iter().filter_map(|series| series.key.vcpus).collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() < self.series.len()
            || self.series.iter().any(|series| alike(&series.key) != alike(first))
        {
            return Vec::new();
        }
        let mut reached = self.series.iter().filter_map(|series| {
            let best = series.best()?;
            Some((series.key.vcpus?, best.level, best.qps.filter(|qps| qps.median > 0.0)?))
        });
        let Some(smallest) = reached.next() else { return Vec::new() };
        let point = |(vcpus, level, qps): (u32, f64, Spread)| ScalingPoint {
            vcpus,
            level,
            qps,
            speedup: qps.median / smallest.2.median,
            ideal: f64::from(vcpus) / f64::from(smallest.0),
        };
        let points: Vec<ScalingPoint> = std::iter::once(smallest).chain(reached).map(point).collect();
        if points.len() < 2 { Vec::new() } else { points }
    }
}

impl Series {
    /// The level that the rule names as the knee.
    pub fn knee(&self) -> Option<u32> {
        self.analysis.found().and_then(|analysis| analysis.rule.found()).map(|knee| knee.concurrency)
    }

    /// The level with the highest median throughput.
    pub fn best(&self) -> Option<&LevelFigures> {
        let throughput = |level: &&LevelFigures| level.qps.map_or(f64::NEG_INFINITY, |qps| qps.median);
        // The lowest of several.
        self.levels
            .iter()
            .filter(|level| level.qps.is_some())
            .rev()
            .max_by(|a, b| throughput(a).total_cmp(&throughput(b)))
    }

    /// Whether a level was measured more than once.
    pub fn repeated(&self) -> bool {
        self.levels.iter().any(|level| level.runs > 1)
    }
}

impl SeriesKey {
    /// What levels are called.
    pub fn level_name(&self) -> &'static str {
        if self.open_loop { "rate" } else { "concurrency" }
    }
}

impl GeneratorCost {
    /// The dearer of two of one kind.
    pub(super) fn max(self, other: Self) -> Self {
        let value = |cost| match cost {
            Self::Cpus(value) | Self::EmptyCall(value) => value,
        };
        if value(other) > value(self) { other } else { self }
    }
}

impl Spread {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Result<Option<Self>, StatsError> {
        let values: Vec<f64> = values.collect();
        if values.is_empty() {
            return Ok(None);
        }
        let at = |p| percentile(&values, p).map(|percentile| percentile.value);
        Ok(Some(Self { median: at(50.0)?, low: at(0.0)?, high: at(100.0)? }))
    }
}

impl fmt::Display for FailedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run_idx {
            Some(run_idx) => write!(f, "run {run_idx} {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}
