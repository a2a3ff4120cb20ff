//! How rows become levels, and levels a series.

use std::collections::BTreeMap;

use virtmark_stats::knee::{self, Analysis, Finding, Latency, LevelRun, Levels, Metric, Slo};

use super::levels::{FailedRun, GeneratorCost, LevelFigures, Series, SeriesKey, Spread, SweepError};
use super::row::Row;

/// Of an open loop, the share of the requests due that have to be answered; what is under way at the end is not yet.
const KEPT_UP: f64 = 0.95;

pub(super) fn level_of(row: &Row) -> Option<f64> {
    row.rate.or(row.concurrency.map(f64::from))
}

pub(super) fn key_of(row: &Row) -> SeriesKey {
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
pub(super) fn label(key: &SeriesKey, keys: &[SeriesKey]) -> String {
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
pub(super) fn unmeasured(row: &Row, slo: &Slo) -> Option<Metric> {
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

pub(super) fn series(
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
    let levels = Levels::new(runs)?;
    let mut analysis = knee::analyse(&levels, options);
    if key.open_loop {
        if let Some(reason) = analysis.rule.reason().and_then(|_| overrun(&levels)) {
            analysis.rule = Finding::NoneInRange { reason };
        }
        let reason = || "the law is about requests in flight, and an open loop sets a rate".to_owned();
        analysis.usl = Finding::NoneInRange { reason: reason() };
        let by_law = |found: &knee::Recommendation| found.method == knee::Method::UslPeak;
        if analysis.recommendation.found().is_some_and(by_law) {
            analysis.recommendation = Finding::NoneInRange { reason: "no method found a knee".into() };
        }
    }
    Ok(Finding::Found(analysis))
}

/// Where the rule finds nothing because the step to the highest rate is too wide: that rate is beyond what the target
/// can do, and the one before it is not.
fn overrun(levels: &Levels) -> Option<String> {
    let keeps_up = |level: &knee::Level| level.throughput() >= KEPT_UP * f64::from(level.concurrency());
    let [.., before, last] = levels.as_slice() else { return None };
    (keeps_up(before) && !keeps_up(last)).then(|| {
        format!(
            "the rate of {} is kept up with, and of {}, the highest, {:.0} are answered; measure rates between them",
            before.concurrency(),
            last.concurrency(),
            last.throughput()
        )
    })
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
        idle: counted.iter().filter_map(|row| idle_run(row)).collect(),
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
        generator: counted.iter().filter_map(|row| generator_cost(row)).reduce(GeneratorCost::max),
    })
}

/// A plan runs within the generator, so its CPU time is not told apart: there, what an empty call takes was measured.
fn generator_cost(row: &Row) -> Option<GeneratorCost> {
    let detail = |name| row.details.get(name)?.as_f64();
    if let Some(ns) = detail("overhead_ns_per_call") {
        return Some(GeneratorCost::EmptyCall(ns));
    }
    let elapsed_sec = row.elapsed_sec.filter(|seconds| *seconds > 0.0)?;
    Some(GeneratorCost::Cpus(detail("generator_cpu_ns")? / 1e9 / elapsed_sec))
}

/// The first line of what was said of a run without a success.
fn message(row: &Row) -> Option<&str> {
    row.details.get("failure")?.get("message")?.as_str()?.lines().next()
}

fn failed_run(row: &Row) -> FailedRun {
    let why = match (row.timeout_killed, row.exit_code) {
        (Some(true), _) => "was killed: its time limit passed".into(),
        (_, Some(code)) if code > 128 && code < 128 + 65 => {
            explained(format!("failed: ended by signal {}", code - 128), row)
        }
        (_, Some(code)) if code != 0 => explained(format!("failed: exit code {code}"), row),
        _ => match message(row) {
            Some(message) => format!("failed: {message}"),
            None => "has no throughput".into(),
        },
    };
    FailedRun { run_idx: row.run_idx, why }
}

fn explained(how: String, row: &Row) -> String {
    message(row).map_or_else(|| how.clone(), |message| format!("{how}: {message}"))
}

/// A run of which nothing else says why it has a throughput of 0.
fn idle_run(row: &Row) -> Option<FailedRun> {
    let is_idle = row.completed == Some(0) && row.failed() == Some(0);
    is_idle.then(|| {
        let why = message(row).unwrap_or("no request ended").to_owned();
        FailedRun { run_idx: row.run_idx, why: format!("has a throughput of 0: {why}") }
    })
}
