//! A run as a result file.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use virtmark_model::{Outcome, Run, Sample};

use super::file::{Iteration, Ms, Ramp, ResultEntry, ResultFile, Stats, SummaryOf};
use super::score::{Trimmed, composite_score, round};
use super::{ComputeSdkError, VERSION};
use crate::tti::{self, METRIC, Mode, TtiReport};

/// A TTI run as a result file with one entry, which stands for the platform. Serialise it with `serde_json`.
///
/// Beside the trimmed figures of the format stand the untrimmed ones, in nanoseconds and nearest-rank, in the entry's
/// `virtmark`. A dropped arrival of an open loop is a failed iteration.
///
/// # Errors
/// When the run is of another scenario, or a stored value is no number.
pub fn to_file(run: &Run, samples: &[Sample]) -> Result<ResultFile, ComputeSdkError> {
    if run.scenario != tti::SCENARIO {
        let (run, scenario) = (run.id.to_string(), run.scenario.clone());
        return Err(ComputeSdkError::Scenario { run, scenario });
    }
    let report = TtiReport::from_samples(run, samples)
        .map_err(|source| ComputeSdkError::Figures { run: run.id.to_string(), source })?;
    let mut attempts: Vec<&Sample> = samples.iter().filter(|sample| sample.metric == METRIC).collect();
    // As they were launched, which is the order of the ramp too.
    attempts.sort_by_key(|sample| sample.started_ns);
    Ok(ResultFile {
        version: VERSION.into(),
        timestamp: format!("{:.3}", run.started_at),
        environment: environment(run),
        config: config(run, attempts.len()),
        results: vec![entry(run, &report, &attempts)],
    })
}

fn entry(run: &Run, report: &TtiReport, attempts: &[&Sample]) -> ResultEntry {
    let times: Vec<f64> =
        attempts.iter().filter_map(|sample| sample.outcome.value()).map(|ns| ns / 1e6).collect();
    let iterations: Vec<Iteration> =
        attempts.iter().filter_map(|sample| iteration(&sample.outcome)).collect();
    let trimmed = Trimmed::of(&times);
    let success_rate = if iterations.is_empty() { 0.0 } else { times.len() as f64 / iterations.len() as f64 };
    let rounded = |ms: f64| Ms(round(ms));
    let ms = |ns: Option<u64>| rounded(ns.unwrap_or(0) as f64 / 1e6);
    let concurrent = report.concurrent.as_ref();
    let staggered = (report.mode == Mode::Staggered).then_some(concurrent).flatten();
    let stagger_ns = run.configuration.get("stagger_ns").and_then(Value::as_u64);
    ResultEntry {
        provider: run.environment.hypervisor.name.clone(),
        mode: Some(mode_name(report.mode).into()),
        concurrency: concurrent.map(|concurrent| concurrent.concurrency),
        stagger_delay_ms: staggered.map(|_| ms(stagger_ns)),
        wall_clock_ms: concurrent.map(|concurrent| ms(concurrent.wall_clock_ns)),
        time_to_first_ready_ms: concurrent.map(|concurrent| ms(concurrent.time_to_first_ready_ns)),
        ramp_profile: staggered.map(|concurrent| {
            let points = concurrent.ramp.iter();
            let ready = points.filter_map(|point| Some((point, point.ready_ns?, point.tti_ns?)));
            ready
                .map(|(point, ready_ns, tti_ns)| Ramp {
                    launched_at: ms(Some(point.launched_ns)),
                    ready_at: ms(Some(ready_ns)),
                    tti_ms: ms(Some(tti_ns)),
                })
                .collect()
        }),
        iterations,
        summary: Some(SummaryOf {
            tti_ms: Stats {
                median: rounded(trimmed.median),
                p95: rounded(trimmed.p95),
                p99: rounded(trimmed.p99),
            },
        }),
        composite_score: Some(Ms(composite_score(trimmed, success_rate))),
        success_rate: Some(Ms(success_rate)),
        skipped: None,
        skip_reason: None,
        virtmark: Some(untrimmed(run, report)),
    }
}

/// None for what was not attempted.
fn iteration(outcome: &Outcome) -> Option<Iteration> {
    match outcome {
        Outcome::Success { value } => {
            Some(Iteration { tti_ms: Some(Ms(round(value / 1e6))), error: None, virtmark: None })
        }
        Outcome::Failure { class, message } => {
            // Readers tell a failure by an error that is not empty.
            let error = if message.is_empty() { class.to_string() } else { message.clone() };
            let virtmark = Some(json!({ "class": class }));
            Some(Iteration { tti_ms: Some(Ms(0.0)), error: Some(error), virtmark })
        }
        Outcome::Skipped { .. } => None,
    }
}

fn untrimmed(run: &Run, report: &TtiReport) -> Value {
    json!({
        "run_id": run.id,
        "accelerator": run.environment.hypervisor.accelerator,
        "emulated": report.emulated,
        "hypervisor_version": run.environment.hypervisor.version,
        "virtmark_version": run.environment.virtmark.version,
        "untrimmed": {
            "count": report.iterations_success,
            "min_ns": report.min_ns,
            "p50_ns": report.p50_ns,
            "p95_ns": report.p95_ns,
            "p99_ns": report.p99_ns,
            "max_ns": report.max_ns,
            "mean_ns": report.mean_ns,
            "stddev_ns": report.stddev_ns,
            "percentiles_supported": report.percentiles_supported,
        },
    })
}

fn environment(run: &Run) -> BTreeMap<String, Value> {
    // The words of Node.js, which the format takes from there.
    let arch = match run.environment.host.arch.as_str() {
        "aarch64" => "arm64",
        "x86_64" => "x64",
        other => other,
    };
    BTreeMap::from([("platform".into(), std::env::consts::OS.into()), ("arch".into(), arch.into())])
}

fn config(run: &Run, iterations: usize) -> BTreeMap<String, Value> {
    let mut config = BTreeMap::from([("iterations".into(), json!(iterations))]);
    if let Some(timeout_ns) = run.configuration.get("timeout_ns").and_then(Value::as_u64) {
        config.insert("timeoutMs".into(), json!(Ms(round(timeout_ns as f64 / 1e6))));
    }
    config
}

/// The format's word for a mode; an open loop has none, and goes by its own name.
fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Burst => "concurrent",
        Mode::OpenLoop | Mode::Sequential | Mode::Staggered => mode.as_str(),
    }
}
