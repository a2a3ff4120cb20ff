//! The rows of a sweep by level: medians and ranges over the repeats, what failed, and where the knee is.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use thiserror::Error;
use virtmark_stats::knee::{self, Analysis, Finding, Latency, LevelRun, Levels, LevelsError, Metric, Slo};
use virtmark_stats::{StatsError, percentile};

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

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Result<Option<Self>, StatsError> {
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

fn level_of(row: &Row) -> Option<f64> {
    row.rate.or(row.concurrency.map(f64::from))
}

fn key_of(row: &Row) -> SeriesKey {
    SeriesKey {
        plan: row.plan.clone(),
        open_loop: row.rate.is_some(),
        vcpus: row.vcpus,
        asynchronous: row.asynchronous,
        cpu_threads: row.cpu_threads,
        io_threads: row.io_threads,
    }
}

/// What sets a series apart: the size alone where that suffices, otherwise everything that differs.
fn label(key: &SeriesKey, keys: &[SeriesKey]) -> String {
    let size = |key: &SeriesKey| match key.vcpus {
        Some(1) => "1 vCPU".to_owned(),
        Some(vcpus) => format!("{vcpus} vCPUs"),
        None => "unknown size".into(),
    };
    let differ = |of: fn(&SeriesKey) -> String| keys.iter().any(|other| of(other) != of(key));
    if keys.len() == 1 {
        return String::new();
    }
    if keys.iter().filter(|other| other.vcpus == key.vcpus).count() == 1
        && !differ(|key| format!("{:?}", (&key.plan, key.open_loop, key.asynchronous)))
    {
        return size(key);
    }
    let threads = |count: Option<u32>| count.map_or_else(|| "unknown".into(), |count| count.to_string());
    let mut words = Vec::new();
    if differ(|key| key.plan.clone()) {
        words.push(key.plan.clone());
    }
    if differ(|key| key.open_loop.to_string()) {
        words.push(if key.open_loop { "open loop" } else { "closed loop" }.into());
    }
    if differ(|key| format!("{:?}", key.vcpus)) {
        words.push(size(key));
    }
    if differ(|key| format!("{:?}", key.asynchronous)) {
        words.push(scheduler(key.asynchronous).into());
    }
    if differ(|key| format!("{:?}", key.cpu_threads)) {
        words.push(format!("{} CPU threads", threads(key.cpu_threads)));
    }
    if differ(|key| format!("{:?}", key.io_threads)) {
        words.push(format!("{} I/O threads", threads(key.io_threads)));
    }
    words.join(", ")
}

pub(super) fn scheduler(asynchronous: Option<bool>) -> &'static str {
    match asynchronous {
        None => "unknown scheduler",
        Some(false) => "synchronous",
        Some(true) => "asynchronous",
    }
}

/// What an objective is about and a run with successes did not measure.
fn unmeasured(row: &Row, slo: &Slo) -> Option<Metric> {
    let known = |metric: &Metric| match metric {
        // Errors and throughput that were not counted are not kept: that is said by level.
        Metric::Errors | Metric::Qps => true,
        Metric::Max => row.max_ns.is_some(),
        Metric::P50 => row.p50_ns.is_some(),
        Metric::P90 => row.p90_ns.is_some(),
        Metric::P99 => row.p99_ns.is_some(),
    };
    if !row.counts() || latency(row).is_none() {
        return None;
    }
    slo.objectives().iter().map(|objective| objective.metric).find(|metric| !known(metric))
}

/// The latencies of a row for the knee, which looks at p99 alone. Where another percentile was not measured, the next
/// higher one that was has its place; an objective about it is refused before.
fn latency(row: &Row) -> Option<Latency> {
    let p99_ns = row.p99_ns?;
    let p90_ns = row.p90_ns.unwrap_or(p99_ns);
    Some(Latency {
        p50_ns: row.p50_ns.unwrap_or(p90_ns),
        p90_ns,
        p99_ns,
        max_ns: row.max_ns.unwrap_or(p99_ns),
    })
}

fn series(
    key: SeriesKey,
    label: String,
    rows: &[&Row],
    options: &knee::Options,
) -> Result<Series, SweepError> {
    let mut sorted: Vec<&Row> = rows.to_vec();
    let level = |row: &Row| level_of(row).unwrap_or_default();
    sorted.sort_by(|a, b| level(a).total_cmp(&level(b)).then(a.run_idx.cmp(&b.run_idx)));
    let analysis = analyse(&key, &sorted, options)?;
    let assessed = analysis.found().map_or(&[][..], |analysis| &analysis.levels);
    let levels = sorted.chunk_by(|a, b| level(a) == level(b)).map(|rows| {
        let at = level(rows[0]);
        let assessed = assessed.iter().find(|assessed| f64::from(assessed.concurrency) == at);
        figures(at, rows, assessed.map(|assessed| assessed.assessment))
    });
    // A run that was killed may not say.
    let durations = || rows.iter().filter_map(|row| row.duration_sec);
    let duration_sec = durations().next().filter(|first| durations().all(|duration| duration == *first));
    Ok(Series {
        levels: levels.collect::<Result<_, _>>()?,
        analysis,
        ru_maxrss_kib: rows.iter().filter_map(|row| row.ru_maxrss_kib).max(),
        platform: rows.iter().find_map(|row| row.platform.clone()),
        emulated: rows.iter().any(|row| row.emulated == Some(true)),
        duration_sec,
        key,
        label,
    })
}

fn analyse(key: &SeriesKey, rows: &[&Row], options: &knee::Options) -> Result<Finding<Analysis>, SweepError> {
    let none = |reason: &str| Ok(Finding::NoneInRange { reason: reason.into() });
    let mut runs = Vec::new();
    for row in rows.iter().filter(|row| row.counts()) {
        let Some(level) = level_of(row) else { continue };
        // The methods count requests in flight; a rate stands in their place.
        if level.fract() != 0.0 || level > f64::from(u32::MAX) {
            return none(
                "the methods compare whole levels, and a rate is none; offer whole requests per second",
            );
        }
        runs.push(LevelRun {
            concurrency: level as u32,
            throughput: row.qps.unwrap_or_default(),
            latency: latency(row),
            error_ratio: row.error_ratio(),
        });
    }
    if runs.is_empty() {
        return none("no run succeeded");
    }
    let mut analysis = knee::analyse(&Levels::new(runs)?, options);
    if key.open_loop {
        let reason = || "the law is about requests in flight, and an open loop sets a rate".to_owned();
        analysis.usl = Finding::NoneInRange { reason: reason() };
        let by_law = |found: &knee::Recommendation| found.method == knee::Method::UslPeak;
        if analysis.recommendation.found().is_some_and(by_law) {
            analysis.recommendation = Finding::NoneInRange { reason: "no method found a knee".into() };
        }
    }
    Ok(Finding::Found(analysis))
}

fn figures(
    level: f64,
    rows: &[&Row],
    assessment: Option<knee::Assessment>,
) -> Result<LevelFigures, SweepError> {
    let counted: Vec<&Row> = rows.iter().copied().filter(|row| row.counts()).collect();
    let spread = |of: fn(&Row) -> Option<f64>| Spread::of(counted.iter().filter_map(|row| of(row)));
    let sum = |of: fn(&Row) -> Option<u64>| {
        let all: Option<Vec<u64>> = rows.iter().filter(|row| row.counts()).map(|row| of(row)).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.into_iter().fold(0, u64::saturating_add))
    };
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    for (class, count) in
        rows.iter().filter_map(|row| row.errors.as_ref()).flatten().filter(|(_, count)| **count > 0)
    {
        let sum = errors.entry(class.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
    let mut error_messages = BTreeMap::new();
    for (class, message) in rows.iter().flat_map(|row| &row.error_messages) {
        error_messages.entry(class.clone()).or_insert_with(|| message.clone());
    }
    let dropped = sum(|row| row.dropped);
    let error_ratio = match (sum(|row| row.completed), sum(Row::failed)) {
        (Some(completed), Some(failed)) => {
            let failed = failed as f64 + dropped.unwrap_or(0) as f64;
            let all = completed as f64 + failed;
            (all > 0.0).then(|| failed / all)
        }
        _ => None,
    };
    Ok(LevelFigures {
        level,
        assessment,
        runs: counted.len(),
        failed: rows.iter().filter(|row| !row.counts()).map(|row| failed_run(row)).collect(),
        qps: spread(|row| row.qps)?,
        p50_ns: spread(|row| row.p50_ns.map(|ns| ns as f64))?,
        p90_ns: spread(|row| row.p90_ns.map(|ns| ns as f64))?,
        p99_ns: spread(|row| row.p99_ns.map(|ns| ns as f64))?,
        p99_of_few: counted.iter().any(|row| row.p99_ns.is_some() && row.completed.is_some_and(|n| n < 100)),
        max_ns: spread(|row| row.max_ns.map(|ns| ns as f64))?,
        error_ratio,
        errors,
        error_messages,
        dropped,
        late: sum(|row| row.late),
        lag_p99_ns: counted.iter().filter_map(|row| row.lag_p99_ns).max(),
        ru_maxrss_kib: rows.iter().filter_map(|row| row.ru_maxrss_kib).max(),
    })
}

fn failed_run(row: &Row) -> FailedRun {
    let why = match (row.timeout_killed, row.exit_code) {
        (Some(true), _) => "was killed: its time limit passed".into(),
        (_, Some(code)) if code > 128 && code < 128 + 65 => format!("failed: ended by signal {}", code - 128),
        (_, Some(code)) if code != 0 => format!("failed: exit code {code}"),
        _ => "has no throughput".into(),
    };
    FailedRun { run_idx: row.run_idx, why }
}
