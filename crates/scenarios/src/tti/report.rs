//! The figures of a TTI run, computed from its stored samples and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::{Environment, FailureClass, Run, RunId, RunStatus, Sample, Unit};
use virtmark_stats::{StatsError, Summary};

use super::{METRIC, Mode, TtiPlan};
use crate::figures::{MedianInterval, NsFigures, Supported};

/// The JSON object that `virtmark tti` prints. Figures are `null` where nothing succeeded, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TtiReport {
    /// The run.
    pub run_id: RunId,
    /// Always `tti`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// How machines followed each other.
    pub mode: Mode,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// Machines asked for.
    pub iterations_requested: u64,
    /// Machines measured.
    pub iterations_success: u64,
    /// Machines that failed.
    pub iterations_failed: u64,
    /// Shortest TTI.
    pub min_ns: Option<u64>,
    /// Median TTI, nearest rank.
    pub p50_ns: Option<u64>,
    /// 95th percentile, nearest rank.
    pub p95_ns: Option<u64>,
    /// 99th percentile, nearest rank.
    pub p99_ns: Option<u64>,
    /// Longest TTI.
    pub max_ns: Option<u64>,
    /// Mean TTI.
    pub mean_ns: Option<u64>,
    /// Sample standard deviation.
    pub stddev_ns: Option<u64>,
    /// Which percentiles the sample count supports.
    pub percentiles_supported: Option<Supported>,
    /// 95 % confidence interval of the median; `null` with fewer than 6 samples.
    pub median_ci95: Option<MedianInterval>,
    /// The parts of the time, in the order they happen; their means add up to `mean_ns`.
    pub phases: Vec<PhaseFigures>,
    /// Failures by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Exit codes of the command with how often each occurred; 128 and the number for a signal.
    pub exit_codes: BTreeMap<String, u64>,
    /// Only of concurrent modes.
    #[serde(flatten)]
    pub concurrent: Option<Concurrent>,
    /// Every option of the run with its value.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

/// One part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseFigures {
    /// `prepare`, `spawn`, `firmware_kernel`, `init`, `connect` or `exec`.
    pub name: String,
    /// Its share of all measured time, from 0 to 1.
    pub share: f64,
    /// Its figures, over the samples that have it.
    #[serde(flatten)]
    pub figures: NsFigures,
}

/// What there is to say of several machines at once. Destroying machines is in none of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrent {
    /// Machines alive at once, at most.
    pub concurrency: u64,
    /// Groups of machines that followed each other.
    pub waves: u64,
    /// From a wave's first launch to its last machine ready, added up over the waves.
    pub wall_clock_ns: Option<u64>,
    /// From the first launch to the first machine ready, in the first wave that had one.
    pub time_to_first_ready_ns: Option<u64>,
    /// Each machine, in the order of launch.
    pub ramp: Vec<RampPoint>,
}

/// One machine of a concurrent run. Times count from the first launch of its wave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RampPoint {
    /// Its name.
    pub machine: String,
    /// The wave it belongs to, from 0.
    pub wave: u64,
    /// Its launch.
    pub launched_ns: u64,
    /// Its first command's output in hand; `null` when it failed.
    pub ready_ns: Option<u64>,
    /// Its TTI; `null` when it failed.
    pub tti_ns: Option<u64>,
}

impl TtiReport {
    /// Computes the report of a run from its samples.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Result<Self, StatsError> {
        let plan = TtiPlan::deserialize(&run.configuration).ok();
        let mode = plan.as_ref().map_or(Mode::Sequential, |plan| plan.mode);
        let samples: Vec<&Sample> =
            samples.iter().filter(|sample| sample.metric == METRIC && sample.unit == Unit::Ns).collect();
        let values: Vec<f64> = samples.iter().filter_map(|sample| sample.outcome.value()).collect();
        let summary = if values.is_empty() { None } else { Some(Summary::from_samples(&values)?) };
        let figures = summary.as_ref().map(NsFigures::new);
        let figure = |of: fn(&NsFigures) -> u64| figures.as_ref().map(of);
        let failures = count(samples.iter().filter_map(|sample| sample.outcome.failure()));
        Ok(Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            mode,
            emulated: run.environment.hypervisor.is_emulated(),
            iterations_requested: plan
                .as_ref()
                .map_or(samples.len() as u64, |plan| u64::from(plan.iterations.get())),
            iterations_success: values.len() as u64,
            iterations_failed: failures.values().sum(),
            min_ns: figure(|figures| figures.min_ns),
            p50_ns: figure(|figures| figures.p50_ns),
            p95_ns: figure(|figures| figures.p95_ns),
            p99_ns: figure(|figures| figures.p99_ns),
            max_ns: figure(|figures| figures.max_ns),
            mean_ns: figure(|figures| figures.mean_ns),
            stddev_ns: figures.as_ref().and_then(|figures| figures.stddev_ns),
            percentiles_supported: summary.as_ref().map(Supported::new),
            median_ci95: summary.as_ref().and_then(MedianInterval::new),
            phases: phases(&samples, values.iter().sum())?,
            failures,
            exit_codes: count(samples.iter().filter_map(|sample| sample.labels.get("exit_code").cloned())),
            concurrent: mode.is_concurrent().then(|| {
                let concurrency = plan.as_ref().map_or(1, |plan| plan.concurrency.min(plan.iterations).get());
                Concurrent::new(concurrency.into(), &samples)
            }),
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        })
    }
}

impl Concurrent {
    fn new(concurrency: u64, samples: &[&Sample]) -> Self {
        let mut first_launches: BTreeMap<u64, u64> = BTreeMap::new();
        for sample in samples {
            let first = first_launches.entry(wave(sample)).or_insert(sample.started_ns);
            *first = sample.started_ns.min(*first);
        }
        let mut ramp: Vec<RampPoint> = samples
            .iter()
            .map(|sample| {
                let wave = wave(sample);
                let launched_ns = sample.started_ns - first_launches[&wave];
                let tti_ns = sample.outcome.value().map(|value| value.round() as u64);
                RampPoint {
                    machine: sample.labels.get("machine").cloned().unwrap_or_default(),
                    wave,
                    launched_ns,
                    ready_ns: tti_ns.map(|tti_ns| launched_ns + tti_ns),
                    tti_ns,
                }
            })
            .collect();
        ramp.sort_by_key(|point| (point.wave, point.launched_ns));
        let mut last_ready: BTreeMap<u64, u64> = BTreeMap::new();
        for (wave, ready_ns) in ramp.iter().filter_map(|point| Some((point.wave, point.ready_ns?))) {
            let last = last_ready.entry(wave).or_insert(ready_ns);
            *last = ready_ns.max(*last);
        }
        let first_ready_wave = last_ready.keys().next().copied();
        Self {
            concurrency,
            waves: first_launches.len() as u64,
            wall_clock_ns: (!last_ready.is_empty()).then(|| last_ready.values().sum()),
            time_to_first_ready_ns: ramp
                .iter()
                .filter(|point| Some(point.wave) == first_ready_wave)
                .filter_map(|point| point.ready_ns)
                .min(),
            ramp,
        }
    }
}

fn wave(sample: &Sample) -> u64 {
    sample.labels.get("wave").and_then(|wave| wave.parse().ok()).unwrap_or(0)
}

/// Figures of each phase of the successes, in the order of first occurrence.
fn phases(samples: &[&Sample], total_ns: f64) -> Result<Vec<PhaseFigures>, StatsError> {
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

fn count<T: Ord>(items: impl Iterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}
