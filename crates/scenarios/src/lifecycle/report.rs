//! The figures of a lifecycle run, computed from its stored samples and nothing else.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use virtmark_model::{
    Environment, FailureClass, HypervisorFacts, Outcome, Run, RunId, RunStatus, Sample, Unit,
};
use virtmark_stats::StatsError;

use super::{Grade, Operation};
use crate::figures::MsFigures;

/// The JSON object that `virtmark lifecycle` prints. Figures are `null` where nothing succeeded, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifecycleReport {
    /// The run.
    pub run_id: RunId,
    /// Always `lifecycle`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// The platform, as it stands in CSV rows.
    pub hypervisor: String,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// How often each operation was to be measured; absent where the configuration does not tell.
    pub iterations_requested: Option<u64>,
    /// Create.
    pub vm_creation_time_ms: OperationFigures,
    /// Start, until the agent answers.
    pub vm_startup_time_ms: OperationFigures,
    /// Stop.
    pub vm_shutdown_time_ms: OperationFigures,
    /// Destroy.
    pub vm_destroy_time_ms: OperationFigures,
    /// Snapshot, with the machine running again.
    pub snapshot_time_ms: OperationFigures,
    /// Restore, until the agent answers.
    pub restore_time_ms: OperationFigures,
    /// Every option of the run with its value.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

/// One operation's times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationFigures {
    /// Figures of the successes, in milliseconds; `null` when there are none.
    pub summary: Option<MsFigures>,
    /// Every success in milliseconds, in the order measured.
    pub samples: Vec<f64>,
    /// Failures by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Why it was not attempted; `null` when it was.
    pub skipped: Option<String>,
    /// How its median compares with the guide's target.
    pub grade: Grade,
    /// The grade in words.
    pub grade_text: String,
}

impl LifecycleReport {
    /// Computes the report of a run from its samples.
    ///
    /// # Errors
    /// When a stored value is not a finite number.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Result<Self, StatsError> {
        let hypervisor = &run.environment.hypervisor;
        let figures = |operation| OperationFigures::new(operation, samples, hypervisor);
        Ok(Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            hypervisor: csv_hypervisor(hypervisor),
            emulated: hypervisor.is_emulated(),
            iterations_requested: run.configuration.get("iterations").and_then(serde_json::Value::as_u64),
            vm_creation_time_ms: figures(Operation::Create)?,
            vm_startup_time_ms: figures(Operation::Start)?,
            vm_shutdown_time_ms: figures(Operation::Stop)?,
            vm_destroy_time_ms: figures(Operation::Destroy)?,
            snapshot_time_ms: figures(Operation::Snapshot)?,
            restore_time_ms: figures(Operation::Restore)?,
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        })
    }

    /// The figures of one operation.
    pub fn operation(&self, operation: Operation) -> &OperationFigures {
        match operation {
            Operation::Create => &self.vm_creation_time_ms,
            Operation::Destroy => &self.vm_destroy_time_ms,
            Operation::Restore => &self.restore_time_ms,
            Operation::Snapshot => &self.snapshot_time_ms,
            Operation::Start => &self.vm_startup_time_ms,
            Operation::Stop => &self.vm_shutdown_time_ms,
        }
    }

    /// Writes a row `hypervisor,operation,milliseconds` for every success, under a header. No field needs quotes.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write_csv(&self, output: &mut dyn io::Write) -> io::Result<()> {
        writeln!(output, "hypervisor,operation,milliseconds")?;
        for operation in Operation::ALL {
            for milliseconds in &self.operation(operation).samples {
                writeln!(output, "{},{},{milliseconds:.6}", self.hypervisor, operation.csv_name())?;
            }
        }
        Ok(())
    }
}

impl OperationFigures {
    fn new(
        operation: Operation,
        samples: &[Sample],
        hypervisor: &HypervisorFacts,
    ) -> Result<Self, StatsError> {
        let mut times_ms = Vec::new();
        let mut failures = BTreeMap::new();
        let mut skipped = None;
        for sample in
            samples.iter().filter(|sample| sample.metric == operation.metric() && sample.unit == Unit::Ns)
        {
            match &sample.outcome {
                Outcome::Failure { class, .. } => *failures.entry(*class).or_default() += 1,
                Outcome::Skipped { reason } => skipped = Some(reason.clone()),
                Outcome::Success { value } => times_ms.push(value / 1e6),
            }
        }
        let summary = if times_ms.is_empty() { None } else { Some(MsFigures::from_samples(&times_ms)?) };
        let grade = Grade::new(operation, summary.as_ref().map(|summary| summary.p50), hypervisor);
        let grade_text = match &skipped {
            Some(reason) if summary.is_none() => format!("skipped: {reason}"),
            _ => grade.to_string(),
        };
        Ok(Self { summary, samples: times_ms, failures, skipped, grade, grade_text })
    }
}

/// The platform with its accelerator, as in `qemu-tcg`, so that rows of emulated runs say so.
pub(crate) fn csv_hypervisor(hypervisor: &HypervisorFacts) -> String {
    match hypervisor.accelerator {
        Some(accelerator) => format!("{}-{accelerator}", hypervisor.name),
        None => hypervisor.name.clone(),
    }
}
