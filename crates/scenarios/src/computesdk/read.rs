//! A result file as runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use virtmark_model::{
    Environment, FailureClass, HostFacts, HypervisorFacts, Outcome, Run, RunId, RunStatus, Sample, Unit,
};

use super::ComputeSdkError;
use super::file::{Iteration, Ms, Ramp, ResultEntry, ResultFile};
use crate::tti::{METRIC, Mode, SCENARIO};

/// Times of a file are below this, which is 31 years; larger ones are none, and their sums would not fit.
const LIMIT_MS: f64 = 1e12;

/// A run for each entry of a result file.
///
/// The environment has only what the file says, and the provider as the platform's name. The configuration says that the
/// run was imported, and keeps the figures as the file reports them. Times are as exact as the file: a hundredth of a
/// millisecond. Where it tells the moment of a launch, samples have it; a sandbox that failed in a staggered run
/// has the moment that the delay intended for it, and the label `launch` that says so.
///
/// # Errors
/// [`ComputeSdkError::Damaged`] for whatever is no such file, with the place.
pub fn from_json(bytes: &[u8]) -> Result<Vec<(Run, Vec<Sample>)>, ComputeSdkError> {
    let file: ResultFile = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if file.version.split('.').next() != Some("1") {
        return Err(damaged(format!("version is {:?}, and this virtmark reads 1.0 and 1.1", file.version)));
    }
    let started_at: Timestamp = file.timestamp.parse().map_err(|_| {
        damaged(format!("timestamp is {:?}, not a time like 2026-01-02T03:04:05.678Z", file.timestamp))
    })?;
    let read = |(position, entry): (usize, &ResultEntry)| {
        let mode = mode(position, entry)?;
        let stagger_ns = match entry.stagger_delay_ms {
            Some(Ms(ms)) => nanoseconds(ms, || format!("results[{position}].staggerDelayMs"))?,
            None => 0,
        };
        let samples = samples(position, entry, mode)?;
        Ok((run(&file, entry, mode, stagger_ns, started_at, position), samples))
    };
    file.results.iter().enumerate().map(read).collect()
}

fn damaged(reason: String) -> ComputeSdkError {
    ComputeSdkError::Damaged { reason }
}

fn mode(position: usize, entry: &ResultEntry) -> Result<Mode, ComputeSdkError> {
    match entry.mode.as_deref() {
        None => Ok(Mode::Sequential),
        Some("concurrent") => Ok(Mode::Burst),
        Some(name) => name.parse().map_err(|_| {
            let known = "sequential, staggered, burst or concurrent";
            damaged(format!("results[{position}].mode is {name:?}, and not {known}"))
        }),
    }
}

fn run(
    file: &ResultFile,
    entry: &ResultEntry,
    mode: Mode,
    stagger_ns: u64,
    started_at: Timestamp,
    position: usize,
) -> Run {
    let word = |name: &str| file.environment.get(name).and_then(Value::as_str);
    let own = |name: &str| entry.virtmark.as_ref().and_then(|own| own.get(name));
    let accelerator = own("accelerator").and_then(|value| serde_json::from_value(value.clone()).ok());
    Run {
        id: RunId::new(SCENARIO, started_at, distinguishing(entry, position)),
        scenario: SCENARIO.into(),
        started_at,
        finished_at: None,
        status: RunStatus::Complete,
        configuration: configuration(file, entry, mode, stagger_ns),
        environment: Environment {
            host: HostFacts {
                arch: word("arch").unwrap_or_default().into(),
                os: word("platform").map(Into::into),
                ..HostFacts::default()
            },
            hypervisor: HypervisorFacts {
                name: entry.provider.clone(),
                version: own("hypervisor_version").and_then(Value::as_str).unwrap_or_default().into(),
                accelerator,
                ..HypervisorFacts::default()
            },
            ..Environment::default()
        },
    }
}

/// What the report reads, beside what the file says of itself.
fn configuration(file: &ResultFile, entry: &ResultEntry, mode: Mode, stagger_ns: u64) -> Value {
    let mut configuration = json!({
        "imported": "computesdk",
        "file_version": file.version,
        "file_environment": file.environment,
        "file_config": file.config,
        "provider": entry.provider,
        "mode": mode,
        "iterations": entry.iterations.len(),
        "concurrency": entry.concurrency.unwrap_or(1).max(1),
        "stagger_ns": stagger_ns,
        "reported": {
            "summary": entry.summary,
            "compositeScore": entry.composite_score,
            "successRate": entry.success_rate,
            "wallClockMs": entry.wall_clock_ms,
            "timeToFirstReadyMs": entry.time_to_first_ready_ms,
        },
    });
    if let Some(own) = &entry.virtmark {
        configuration["reported"]["virtmark"] = own.clone();
    }
    configuration
}

fn samples(position: usize, entry: &ResultEntry, mode: Mode) -> Result<Vec<Sample>, ComputeSdkError> {
    if entry.iterations.is_empty() && entry.skipped == Some(true) {
        let reason = entry.skip_reason.clone().unwrap_or_else(|| "the file does not say why".into());
        return Ok(vec![sample(0, 0, Outcome::Skipped { reason }, BTreeMap::new())]);
    }
    let mut ramp = entry.ramp_profile.as_deref().unwrap_or_default().iter().enumerate();
    let mut samples = Vec::new();
    for (number, iteration) in entry.iterations.iter().enumerate() {
        let outcome = outcome(position, number, iteration)?;
        let mut labels = BTreeMap::from([("machine".into(), format!("{}-{number}", entry.provider))]);
        let told = launch(&mut ramp, &outcome);
        let started_ns = match (mode, told, entry.stagger_delay_ms) {
            (Mode::Staggered, Some((point, launched)), _) => {
                nanoseconds(launched, || format!("results[{position}].rampProfile[{point}].launchedAt"))?
            }
            (Mode::Staggered, None, Some(Ms(delay))) => {
                labels.insert("launch".into(), "intended".into());
                let place = || format!("results[{position}].staggerDelayMs times {number}");
                nanoseconds(delay * number as f64, place)?
            }
            _ => 0,
        };
        samples.push(sample(number as u64, started_ns, outcome, labels));
    }
    Ok(samples)
}

/// When a success was launched, and where the profile says so: it has the successes, in the order of the iterations.
fn launch<'a>(ramp: &mut impl Iterator<Item = (usize, &'a Ramp)>, outcome: &Outcome) -> Option<(usize, f64)> {
    outcome.value()?;
    ramp.next().map(|(point, ramp)| (point, ramp.launched_at.0))
}

fn outcome(position: usize, number: usize, iteration: &Iteration) -> Result<Outcome, ComputeSdkError> {
    let place = || format!("results[{position}].iterations[{number}]");
    match (&iteration.error, iteration.tti_ms) {
        // An empty error is none, as it is to the benchmark's own code.
        (Some(error), _) if !error.is_empty() => {
            let class = iteration.virtmark.as_ref().and_then(|own| own.get("class"));
            let class = class.and_then(|class| serde_json::from_value(class.clone()).ok());
            let class = class.unwrap_or_else(|| class_of(error));
            Ok(Outcome::Failure { class, message: error.clone() })
        }
        (_, Some(Ms(ms))) => {
            let value = nanoseconds(ms, || format!("{}.ttiMs", place()))? as f64;
            Ok(Outcome::Success { value })
        }
        (_, None) => Err(damaged(format!("{} has neither ttiMs nor error", place()))),
    }
}

/// The benchmark's messages of a limit that passed end with these words.
fn class_of(error: &str) -> FailureClass {
    if error.ends_with("timed out") { FailureClass::Timeout } else { FailureClass::Other }
}

fn sample(seq: u64, started_ns: u64, outcome: Outcome, labels: BTreeMap<String, String>) -> Sample {
    Sample { seq, metric: METRIC.into(), unit: Unit::Ns, started_ns, outcome, phases: Vec::new(), labels }
}

/// A time that the file has at this place.
fn nanoseconds(ms: f64, place: impl FnOnce() -> String) -> Result<u64, ComputeSdkError> {
    if (0.0..LIMIT_MS).contains(&ms) {
        return Ok((ms * 1e6).round() as u64);
    }
    Err(damaged(format!("{} is {ms}, which is no time", place())))
}

/// Tells the entries of one moment apart, the same in every import, so that a file is not taken in twice.
fn distinguishing(entry: &ResultEntry, position: usize) -> u32 {
    // FNV-1a; its constants are from the draft of G. Fowler, L. C. Noll and K.-P. Vo.
    let mode = entry.mode.as_deref().unwrap_or_default();
    let bytes = entry.provider.bytes().chain([0]).chain(mode.bytes()).chain([0, position as u8]);
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 24) ^ (hash & 0xff_ffff)
}
