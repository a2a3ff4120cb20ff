//! The figures of a migration run, computed from its stored samples and nothing else.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use virtmark_model::{Environment, FailureClass, Outcome, Run, RunId, RunStatus, Sample};
use virtmark_stats::StatsError;

use super::Grade;
use super::attempt::OUTSIDE;
use crate::figures::{Supported, count, summary};
use crate::lifecycle::csv_hypervisor;

const MB: f64 = 1e6;

/// The JSON object that `virtmark migrate` prints. Figures are `null` where nothing succeeded, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrateReport {
    /// The run.
    pub run_id: RunId,
    /// Always `migrate`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// The platform that machines came from, as it stands in CSV rows.
    pub source_hypervisor: String,
    /// The platform that they went to.
    pub target_hypervisor: String,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// Each size under each load, in the order measured.
    pub cells: Vec<Cell>,
    /// What was not attempted, and why.
    pub left_out: Vec<String>,
    /// Every option of the run with its value.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

/// One size of memory under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Guest memory, in MB of 2^20 bytes.
    pub memory_mb: u64,
    /// What the guest did.
    pub load: String,
    /// When memory was copied.
    pub mode: String,
    /// What connected the two processes.
    pub channel: String,
    /// How many were begun.
    pub attempts: u64,
    /// The share of them that arrived as the same machine, from 0 to 1.
    pub success_rate: f64,
    /// From the request until the source is gone.
    pub migration_duration_ms: Option<Values>,
    /// How long a client outside heard nothing; what is graded.
    pub downtime_actual_ms: Option<Values>,
    /// How long the guest stood still, as the platform says.
    pub downtime_hypervisor_ms: Option<Values>,
    /// The longest that the guest's own ticker was kept from ticking, by the guest's monotonic clock.
    pub downtime_guest_ms: Option<Values>,
    /// The same of the guest before it moved, in half a second: what its gaps are made of anyway.
    pub guest_gap_still_ms: Option<Values>,
    /// The longest between two answers to a client outside before it moved, in half a second.
    pub outside_gap_still_ms: Option<Values>,
    /// What was sent, in MB of 10^6 bytes.
    pub data_transferred_mb: Option<Values>,
    /// How fast, in such MB a second, as the platform counts it.
    pub transfer_rate_mbps: Option<Values>,
    /// The most that the guest wrote in a second, in such MB, as the platform counts it; `null` when a migration was too
    /// short to be counted.
    pub memory_dirty_rate_mbps: Option<Values>,
    /// How often memory was gone through.
    pub rounds: Option<Values>,
    /// The share of one virtual CPU that the ticker took.
    pub ticker_cpu_share: Option<f64>,
    /// Failures by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// The failures in words, each once.
    pub reasons: Vec<String>,
    /// How the medians compare with the guide's targets.
    pub grade: Grade,
    /// The grade in words.
    pub grade_text: String,
    /// Every success, in the order measured.
    pub rows: Vec<Row>,
}

/// Figures of a set of values, in the unit of their name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// Number of samples.
    pub count: u64,
    /// Smallest sample.
    pub min: f64,
    /// Median: the lower of the middle two when their number is even.
    pub p50: f64,
    /// Largest sample.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Which percentiles the sample count supports.
    pub percentiles_supported: Supported,
}

/// One migration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From the request until the source is gone, in milliseconds.
    pub duration_ms: f64,
    /// How long a client outside heard nothing, in milliseconds.
    pub downtime_ms: Option<f64>,
    /// What was sent, in MB of 10^6 bytes.
    pub transferred_mb: Option<f64>,
}

impl MigrateReport {
    /// Computes the report of a run from its samples.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Result<Self, StatsError> {
        let hypervisor = &run.environment.hypervisor;
        let attempts = samples.iter().filter(|sample| sample.metric.starts_with("migration_duration_"));
        let (mut groups, mut left_out) = (Vec::<(&str, Vec<&Sample>)>::new(), Vec::new());
        for sample in attempts {
            if let Outcome::Skipped { reason } = &sample.outcome {
                left_out.push(reason.clone());
                continue;
            }
            match groups.iter_mut().find(|(metric, _)| *metric == sample.metric) {
                Some((_, group)) => group.push(sample),
                None => groups.push((&sample.metric, vec![sample])),
            }
        }
        let cells = groups.iter().map(|(_, group)| Cell::new(group, hypervisor.is_emulated()));
        let name = csv_hypervisor(hypervisor);
        Ok(Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            source_hypervisor: name.clone(),
            target_hypervisor: name,
            emulated: hypervisor.is_emulated(),
            cells: cells.collect::<Result<_, _>>()?,
            left_out,
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        })
    }

    /// Writes a row `source_hypervisor,target_hypervisor,memory,duration,downtime,transferred` for every success, under a
    /// header: memory in MB of 2^20 bytes, times in milliseconds, what was sent in MB of 10^6 bytes. What is not known is
    /// empty. No field needs quotes.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write_csv(&self, output: &mut dyn io::Write) -> io::Result<()> {
        writeln!(output, "source_hypervisor,target_hypervisor,memory,duration,downtime,transferred")?;
        let text = |value: Option<f64>| value.map(|value| format!("{value:.3}")).unwrap_or_default();
        for cell in &self.cells {
            for row in &cell.rows {
                writeln!(
                    output,
                    "{},{},{},{:.3},{},{}",
                    self.source_hypervisor,
                    self.target_hypervisor,
                    cell.memory_mb,
                    row.duration_ms,
                    text(row.downtime_ms),
                    text(row.transferred_mb)
                )?;
            }
        }
        Ok(())
    }
}

impl Cell {
    /// Of the attempts of one metric, of which there is at least one.
    fn new(attempts: &[&Sample], emulated: bool) -> Result<Self, StatsError> {
        let label = |name: &str| {
            attempts.first().and_then(|sample| sample.labels.get(name)).cloned().unwrap_or_default()
        };
        let successes: Vec<&&Sample> =
            attempts.iter().filter(|sample| sample.outcome.value().is_some()).collect();
        // Of each success the number that a label holds, divided.
        let values = |name: &str, by: f64| -> Result<Option<Values>, StatsError> {
            Values::of(successes.iter().filter_map(|sample| number(sample, name)).map(|value| value / by))
        };
        let mut reasons = Vec::new();
        for sample in attempts {
            if let Outcome::Failure { message, .. } = &sample.outcome
                && !reasons.contains(message)
            {
                reasons.push(message.clone());
            }
        }
        let rows: Vec<Row> = successes
            .iter()
            .filter_map(|sample| {
                Some(Row {
                    duration_ms: sample.outcome.value()? / 1e6,
                    downtime_ms: number(sample, OUTSIDE).map(|ns| ns / 1e6),
                    transferred_mb: number(sample, "transferred_bytes").map(|bytes| bytes / MB),
                })
            })
            .collect();
        let memory_mb = label("memory_mb").parse().unwrap_or(0);
        let migration_duration_ms = Values::of(rows.iter().map(|row| row.duration_ms))?;
        let downtime_actual_ms = values(OUTSIDE, 1e6)?;
        let transfer_rate_mbps = values("throughput_bytes_per_s", MB)?;
        let median = |values: &Option<Values>| values.as_ref().map(|values| values.p50);
        let grade = Grade::new(
            memory_mb,
            median(&migration_duration_ms),
            median(&downtime_actual_ms),
            median(&transfer_rate_mbps),
            emulated,
        );
        let sum = |name: &str| successes.iter().filter_map(|sample| number(sample, name)).sum::<f64>();
        let ticked_ns = sum("ticker_elapsed_ns");
        Ok(Self {
            memory_mb,
            load: label("load"),
            mode: label("mode"),
            channel: label("channel"),
            attempts: attempts.len() as u64,
            success_rate: successes.len() as f64 / attempts.len().max(1) as f64,
            downtime_hypervisor_ms: values("downtime_hypervisor_ms", 1.0)?,
            downtime_guest_ms: values("guest_gap_ns", 1e6)?,
            guest_gap_still_ms: values("guest_gap_still_ns", 1e6)?,
            outside_gap_still_ms: values("outside_gap_still_ns", 1e6)?,
            data_transferred_mb: values("transferred_bytes", MB)?,
            memory_dirty_rate_mbps: values("dirty_rate_bytes_per_s", MB)?,
            rounds: values("rounds", 1.0)?,
            ticker_cpu_share: (ticked_ns > 0.0).then(|| sum("ticker_cpu_ns") / ticked_ns),
            failures: count(attempts.iter().filter_map(|sample| sample.outcome.failure())),
            reasons,
            grade_text: grade.to_string(),
            grade,
            rows,
            migration_duration_ms,
            downtime_actual_ms,
            transfer_rate_mbps,
        })
    }
}

impl Values {
    fn of(values: impl Iterator<Item = f64>) -> Result<Option<Self>, StatsError> {
        let summary = summary(&values.collect::<Vec<_>>())?;
        Ok(summary.map(|summary| Self {
            count: summary.count,
            min: summary.min,
            p50: summary.p50.value,
            max: summary.max,
            mean: summary.mean,
            percentiles_supported: Supported::new(&summary),
        }))
    }
}

fn number(sample: &Sample, label: &str) -> Option<f64> {
    sample.labels.get(label)?.parse().ok()
}
