//! A sweep as it is told again: computed from its stored samples and nothing else.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use virtmark_model::{Environment, Run, RunId, RunStatus, Sample};

use super::result::{METRIC, ROW_LABEL};
use super::row::Row;

/// The JSON object that `virtmark sweep` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepReport {
    /// The run of the program.
    pub run_id: RunId,
    /// Always `sweep`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// Runs of levels with figures.
    pub runs_success: u64,
    /// Runs of levels without.
    pub runs_failed: u64,
    /// Where its time went.
    pub time: Time,
    /// Every run of a level, in the order measured; settings are in `configuration`.
    pub rows: Vec<Row>,
    /// Every option of the run with its value.
    pub configuration: Value,
    /// What it ran on.
    pub environment: Environment,
}

/// Where the time of a sweep went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// From the first thing done to the end of the last run.
    pub total_ns: u64,
    /// Machines that were made ready: started, filled, services listening.
    pub boot_ns: u64,
    /// In which requests counted.
    pub measure_ns: u64,
    /// In which they did not count yet.
    pub warmup_ns: u64,
    /// What is left: virtmark's own.
    pub own_ns: u64,
}

impl SweepReport {
    /// Computes the report of a run from its samples.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Self {
        let rows: Vec<Row> = samples.iter().filter_map(row).collect();
        let is_run = |sample: &&Sample| sample.metric == METRIC;
        let succeeded =
            samples.iter().filter(is_run).filter(|sample| sample.outcome.value().is_some()).count();
        let failed =
            samples.iter().filter(is_run).filter(|sample| sample.outcome.failure().is_some()).count();
        Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            emulated: run.environment.hypervisor.is_emulated(),
            runs_success: succeeded as u64,
            runs_failed: failed as u64,
            time: Time::of(samples, &rows),
            rows,
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        }
    }
}

impl Time {
    fn of(samples: &[Sample], rows: &[Row]) -> Self {
        let detail = |row: &Row, name: &str| row.details.get(name).and_then(Value::as_u64).unwrap_or(0);
        let runs = samples.iter().filter(|sample| sample.metric == METRIC);
        let total_ns = runs
            .filter_map(|sample| Some(sample.started_ns + detail(&row(sample)?, "wall_ns")))
            .max()
            .unwrap_or(0);
        let boots = samples.iter().filter(|sample| sample.metric == "boot");
        let boot_ns = boots.filter_map(|boot| boot.outcome.value()).map(|ns| ns as u64).sum();
        let measure_ns =
            rows.iter().filter_map(|row| row.elapsed_sec).map(|seconds| (seconds * 1e9) as u64).sum();
        let warmup_ns = rows.iter().map(|row| detail(row, "warmup_ns")).sum();
        let own_ns = total_ns.saturating_sub(boot_ns + measure_ns + warmup_ns);
        Self { total_ns, boot_ns, measure_ns, warmup_ns, own_ns }
    }

    /// How much longer it all took than its boots, warm-ups and measurements; none when nothing was measured.
    pub fn overhead_ratio(&self) -> Option<f64> {
        let wanted_ns = self.boot_ns + self.measure_ns + self.warmup_ns;
        (self.measure_ns > 0).then(|| self.own_ns as f64 / wanted_ns as f64)
    }
}

/// The row that a sample of a run has with it.
fn row(sample: &Sample) -> Option<Row> {
    if sample.metric != METRIC {
        return None;
    }
    serde_json::from_str(sample.labels.get(ROW_LABEL)?).ok()
}
