//! The figures of a restore run, computed from its stored samples and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::{Environment, FailureClass, Outcome, Run, RunId, RunStatus, Sample, Unit};
use virtmark_stats::{StatsError, Summary};

use super::working_set::{Cache, SHARES};
use super::{DESTROY, PRIVATE, PSS, RESTORE_ONLY, RESTORE_TTI, RestorePlan};
use crate::figures::{
    ByteFigures, MedianInterval, NsFigures, PhaseFigures, Supported, count, phases, summary,
};
use crate::pace::{Concurrent, Mode, OpenLoop};

/// The JSON object that `virtmark restore` prints. Figures are `null` where nothing succeeded, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The run.
    pub run_id: RunId,
    /// Always `restore`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// How machines followed each other.
    pub mode: Mode,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// Machines asked for.
    pub iterations_requested: u64,
    /// Machines that were restored and showed what they remember.
    pub iterations_success: u64,
    /// Machines that did not; a fixture that failed is one.
    pub iterations_failed: u64,
    /// Shortest restore, without the command.
    pub restore_only_min_ns: Option<u64>,
    /// Median, nearest rank.
    pub restore_only_p50_ns: Option<u64>,
    /// 95th percentile, nearest rank.
    pub restore_only_p95_ns: Option<u64>,
    /// 99th percentile, nearest rank.
    pub restore_only_p99_ns: Option<u64>,
    /// Longest.
    pub restore_only_max_ns: Option<u64>,
    /// 95 % confidence interval of the median; `null` with fewer than 6 samples.
    pub restore_only_median_ci95: Option<MedianInterval>,
    /// Shortest time from the request to restore to the command's output.
    pub restore_tti_min_ns: Option<u64>,
    /// Median, nearest rank.
    pub restore_tti_p50_ns: Option<u64>,
    /// 95th percentile, nearest rank.
    pub restore_tti_p95_ns: Option<u64>,
    /// 99th percentile, nearest rank.
    pub restore_tti_p99_ns: Option<u64>,
    /// Longest.
    pub restore_tti_max_ns: Option<u64>,
    /// 95 % confidence interval of the median; `null` with fewer than 6 samples.
    pub restore_tti_median_ci95: Option<MedianInterval>,
    /// Which percentiles of `restore_tti` the sample count supports.
    pub percentiles_supported: Option<Supported>,
    /// The parts of `restore_tti`, in the order they happen.
    pub phases: Vec<PhaseFigures>,
    /// Failures by the step that they came in.
    pub failures: RestoreFailures,
    /// The same failures by class.
    pub failure_classes: BTreeMap<FailureClass, u64>,
    /// Memory of each restored machine after its command, pages shared with others divided among them; `null` where the
    /// host cannot tell.
    pub restored_pss_bytes: Option<ByteFigures>,
    /// Memory that each restored machine had for itself.
    pub restored_private_bytes: Option<ByteFigures>,
    /// Until shares of the working set were read, with page cache warm and cold.
    pub working_set: Vec<WorkingSetFigures>,
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

/// Failures by the step that they came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFailures {
    /// The request to restore.
    pub restore_api: u64,
    /// The command that must see the change, its answer included.
    pub sanity_exec: u64,
    /// The end of a machine, which costs no measured value.
    pub destroy: u64,
    /// Everything else: the fixture, an arrival for which there was no room.
    pub other: u64,
}

/// How long it took until a share of the working set was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkingSetFigures {
    /// `warm` or `cold`: whether the snapshot's content was in the host's memory.
    pub cache: String,
    /// The share that was read, in percent.
    pub percent: u32,
    /// The whole working set; `null` when nothing was measured.
    pub working_set_bytes: Option<u64>,
    /// From the request to restore.
    pub from_request: Option<NsFigures>,
    /// The reading alone.
    pub reading: Option<NsFigures>,
    /// Failures by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Attempts that were skipped.
    pub skipped: u64,
    /// Why.
    pub skip_reason: Option<String>,
}

impl RestoreReport {
    /// Computes the report of a run from its samples.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Result<Self, StatsError> {
        let plan = RestorePlan::deserialize(&run.configuration).ok();
        let of = |metric: &str, unit: Unit| -> Vec<&Sample> {
            samples.iter().filter(|sample| sample.metric == metric && sample.unit == unit).collect()
        };
        let (only, tti, destroys) =
            (of(RESTORE_ONLY, Unit::Ns), of(RESTORE_TTI, Unit::Ns), of(DESTROY, Unit::Ns));
        let (only_summary, tti_values) = (summary(&values(&only))?, values(&tti));
        let tti_summary = summary(&tti_values)?;
        let (only_figures, tti_figures) =
            (only_summary.as_ref().map(NsFigures::new), tti_summary.as_ref().map(NsFigures::new));
        let only_figure = |of: fn(&NsFigures) -> u64| only_figures.as_ref().map(of);
        let tti_figure = |of: fn(&NsFigures) -> u64| tti_figures.as_ref().map(of);
        let bytes = |metric| -> Result<Option<ByteFigures>, StatsError> {
            Ok(summary(&values(&of(metric, Unit::Bytes)))?.as_ref().map(ByteFigures::new))
        };
        let failed = || tti.iter().chain(&destroys).filter(|sample| sample.outcome.failure().is_some());
        let iterations_failed = tti.iter().filter(|sample| sample.outcome.failure().is_some()).count();
        Ok(Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            mode: plan.as_ref().map_or(Mode::Sequential, |plan| plan.pace.mode),
            emulated: run.environment.hypervisor.is_emulated(),
            iterations_requested: plan
                .as_ref()
                .map_or(tti.len() as u64, |plan| plan.pace.iterations.get().into()),
            iterations_success: tti_values.len() as u64,
            iterations_failed: iterations_failed as u64,
            restore_only_min_ns: only_figure(|figures| figures.min_ns),
            restore_only_p50_ns: only_figure(|figures| figures.p50_ns),
            restore_only_p95_ns: only_figure(|figures| figures.p95_ns),
            restore_only_p99_ns: only_figure(|figures| figures.p99_ns),
            restore_only_max_ns: only_figure(|figures| figures.max_ns),
            restore_only_median_ci95: only_summary.as_ref().and_then(MedianInterval::new),
            restore_tti_min_ns: tti_figure(|figures| figures.min_ns),
            restore_tti_p50_ns: tti_figure(|figures| figures.p50_ns),
            restore_tti_p95_ns: tti_figure(|figures| figures.p95_ns),
            restore_tti_p99_ns: tti_figure(|figures| figures.p99_ns),
            restore_tti_max_ns: tti_figure(|figures| figures.max_ns),
            restore_tti_median_ci95: tti_summary.as_ref().and_then(MedianInterval::new),
            percentiles_supported: tti_summary.as_ref().map(Supported::new),
            phases: phases(&tti, tti_values.iter().sum())?,
            failures: failed().fold(RestoreFailures::default(), RestoreFailures::and),
            failure_classes: count(failed().filter_map(|sample| sample.outcome.failure())),
            restored_pss_bytes: bytes(PSS)?,
            restored_private_bytes: bytes(PRIVATE)?,
            working_set: working_set(samples)?,
            concurrent: plan.as_ref().and_then(|plan| Concurrent::new(&plan.pace, &tti)),
            open_loop: match &plan {
                Some(plan) => OpenLoop::new(&plan.pace, &tti)?,
                None => None,
            },
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        })
    }
}

impl RestoreFailures {
    fn and(mut self, sample: &&Sample) -> Self {
        let counted = match sample.labels.get("failed_in").map(String::as_str) {
            Some("restore") => &mut self.restore_api,
            Some("sanity_exec") => &mut self.sanity_exec,
            Some("destroy") => &mut self.destroy,
            _ => &mut self.other,
        };
        *counted += 1;
        self
    }
}

fn working_set(samples: &[Sample]) -> Result<Vec<WorkingSetFigures>, StatsError> {
    let mut all = Vec::new();
    for cache in Cache::ALL {
        for (metric, (percent, _)) in cache.metrics().into_iter().zip(SHARES) {
            let samples: Vec<&Sample> = samples.iter().filter(|sample| sample.metric == metric).collect();
            if !samples.is_empty() {
                all.push(WorkingSetFigures::new(cache, percent, &samples)?);
            }
        }
    }
    Ok(all)
}

impl WorkingSetFigures {
    fn new(cache: Cache, percent: u32, samples: &[&Sample]) -> Result<Self, StatsError> {
        let successes = || samples.iter().filter(|sample| sample.outcome.value().is_some());
        let reading: Vec<f64> = successes().map(|sample| reading_ns(sample)).collect();
        let figures = |values: &[f64]| -> Result<Option<NsFigures>, StatsError> {
            let summary: Option<Summary> = summary(values)?;
            Ok(summary.as_ref().map(NsFigures::new))
        };
        let reasons = || {
            samples.iter().filter_map(|sample| match &sample.outcome {
                Outcome::Skipped { reason } => Some(reason),
                Outcome::Failure { .. } | Outcome::Success { .. } => None,
            })
        };
        Ok(Self {
            cache: cache.as_str().into(),
            percent,
            working_set_bytes: successes()
                .find_map(|sample| sample.labels.get("working_set_bytes")?.parse().ok()),
            from_request: figures(&values(samples))?,
            reading: figures(&reading)?,
            failures: count(samples.iter().filter_map(|sample| sample.outcome.failure())),
            skipped: reasons().count() as u64,
            skip_reason: reasons().next().cloned(),
        })
    }
}

/// What of a time was spent reading.
fn reading_ns(sample: &Sample) -> f64 {
    let touched = sample.phases.iter().filter(|phase| phase.name.starts_with("touch_"));
    touched.map(|phase| phase.duration_ns as f64).sum()
}

fn values(samples: &[&Sample]) -> Vec<f64> {
    samples.iter().filter_map(|sample| sample.outcome.value()).collect()
}
