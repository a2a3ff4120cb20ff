//! What a run says of itself, computed from its samples: the same when it ends and whenever it is looked at later.

use serde::Serialize;
use virtmark_model::{FailureClass, Outcome, Phase, Run, RunStatus, Sample};

use crate::summary::{MetricSummary, summarize};
use crate::{EXIT_CODE_LABEL, RUN_METRIC};

/// The scenario of runs of payloads on many machines.
pub const SCENARIO: &str = "vmrun";

/// A run of a payload on many machines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetReport {
    /// The run's name.
    pub run: String,
    /// How it ended.
    pub status: RunStatus,
    /// The payload, as the configuration of the run has it.
    pub payload: serde_json::Value,
    /// The directory with what came home, as it was named.
    pub results: Option<String>,
    /// Machines on which it succeeded.
    pub succeeded: usize,
    /// Machines on which it did not.
    pub failed: usize,
    /// Each machine, in the order in which they ended.
    pub machines: Vec<MachineReport>,
    /// Each metric, over the machines; the payload's run time is the first.
    pub metrics: Vec<MetricSummary>,
}

/// One machine of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachineReport {
    /// Its name in the map.
    pub name: String,
    /// Its address there.
    pub address: String,
    /// Whether the payload succeeded on it.
    pub succeeded: bool,
    /// What kind of failure, as the archive counts it.
    pub failure: Option<FailureClass>,
    /// Why it failed, in one line.
    pub message: Option<String>,
    /// Exit code of the payload, where it ended by itself.
    pub exit_code: Option<i32>,
    /// From the payload's start to the end of its output; none where it failed.
    pub run_ns: Option<u64>,
    /// The stages that were begun.
    pub stages: Vec<Phase>,
}

impl FleetReport {
    /// Of a run and its samples.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Self {
        let of_runs = samples.iter().filter(|sample| sample.metric == RUN_METRIC);
        let machines: Vec<MachineReport> = of_runs.map(MachineReport::of).collect();
        let succeeded = machines.iter().filter(|machine| machine.succeeded).count();
        Self {
            run: run.id.to_string(),
            status: run.status,
            payload: run.configuration["payload"].clone(),
            results: run.configuration["results"].as_str().map(str::to_owned),
            succeeded,
            failed: machines.len() - succeeded,
            machines,
            metrics: summarize(samples),
        }
    }
}

impl MachineReport {
    fn of(sample: &Sample) -> Self {
        let label = |name: &str| sample.labels.get(name).cloned();
        let (failure, message) = match &sample.outcome {
            Outcome::Failure { class, message } => (Some(*class), Some(message.clone())),
            Outcome::Skipped { reason } => (None, Some(reason.clone())),
            Outcome::Success { .. } => (None, None),
        };
        let value = sample.outcome.value();
        Self {
            name: label("machine").unwrap_or_default(),
            address: label("address").unwrap_or_default(),
            succeeded: value.is_some(),
            failure,
            message,
            exit_code: label(EXIT_CODE_LABEL).and_then(|code| code.parse().ok()),
            run_ns: value.map(|value| value as u64),
            stages: sample.phases.clone(),
        }
    }
}
