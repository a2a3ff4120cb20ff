//! The figures of a TTI run, computed from its stored samples and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::{Environment, FailureClass, Run, RunId, RunStatus, Sample, Unit};
use virtmark_stats::{StatsError, Summary};

use super::METRIC;
use crate::figures::{MedianInterval, NsFigures, PhaseFigures, Supported, count, phases};
use crate::pace::{Concurrent, Mode, OpenLoop, Pace};

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
    /// Only of open-loop mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_loop: Option<OpenLoop>,
    /// Every option of the run with its value.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

impl TtiReport {
    /// Computes the report of a run from its samples.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Result<Self, StatsError> {
        let pace = Pace::deserialize(&run.configuration).ok();
        let mode = pace.as_ref().map_or(Mode::Sequential, |pace| pace.mode);
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
            iterations_requested: pace
                .as_ref()
                .map_or(samples.len() as u64, |pace| u64::from(pace.iterations.get())),
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
            concurrent: pace.as_ref().and_then(|pace| Concurrent::new(pace, &samples)),
            open_loop: match &pace {
                Some(pace) => OpenLoop::new(pace, &samples)?,
                None => None,
            },
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        })
    }
}
