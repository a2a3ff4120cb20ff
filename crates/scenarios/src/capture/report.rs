//! The figures of a capture run, computed from its stored samples and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use virtmark_model::{Environment, FailureClass, Outcome, Run, RunId, RunStatus, Sample};

/// The JSON object that `virtmark capture` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaptureReport {
    /// The run.
    pub run_id: RunId,
    /// Always `capture`.
    pub scenario: String,
    /// How the run ended.
    pub status: RunStatus,
    /// Whether guest code ran in software emulation.
    pub emulated: bool,
    /// Lives that were lived to their end.
    pub lives_success: u64,
    /// Lives that failed, by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Every life, in the order lived.
    pub lives: Vec<Row>,
    /// Every option of the run with its value.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

/// One life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The machine.
    pub machine: String,
    /// Length asked of the workload, in seconds.
    pub duration_s: u64,
    /// Which repetition, from 0.
    pub repeat: u64,
    /// From the request to create to the end of the workload; `null` when the life failed.
    pub lived_ns: Option<u64>,
    /// What each source has of it.
    pub sources: Vec<SourceRow>,
}

/// What one source has of one life. Figures are `null` when the source could not be asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRow {
    /// `recorder` or `prometheus`.
    pub source: String,
    /// Points that fit into the life at the source's interval.
    pub points_expected: Option<u64>,
    /// Points of the always-present series that has the fewest.
    pub points_stored: Option<u64>,
    /// Stored for each expected.
    pub capture_rate: Option<f64>,
    /// Phases of the workload that can be told apart in the points.
    pub phases_told_apart: Option<Vec<String>>,
    /// Why it could not be asked.
    pub skipped: Option<String>,
}

impl CaptureReport {
    /// Computes the report of a run from its samples.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Self {
        let lives: Vec<&Sample> = samples.iter().filter(|sample| sample.metric == "life").collect();
        let mut failures = BTreeMap::new();
        for class in lives.iter().filter_map(|life| life.outcome.failure()) {
            *failures.entry(class).or_default() += 1;
        }
        Self {
            run_id: run.id.clone(),
            scenario: super::SCENARIO.into(),
            status: run.status,
            emulated: run.environment.hypervisor.is_emulated(),
            lives_success: lives.iter().filter(|life| life.outcome.value().is_some()).count() as u64,
            failures,
            lives: lives.iter().map(|life| Row::new(life, samples)).collect(),
            configuration: run.configuration.clone(),
            environment: run.environment.clone(),
        }
    }
}

impl Row {
    fn new(life: &Sample, samples: &[Sample]) -> Self {
        let label = |name: &str| life.labels.get(name).cloned().unwrap_or_default();
        let machine = label("machine");
        let mut sources: Vec<SourceRow> = Vec::new();
        for sample in samples.iter().filter(|sample| sample.labels.get("machine") == Some(&machine)) {
            let Some(name) = sample.labels.get("source") else { continue };
            let position = sources.iter().position(|source| source.source == *name);
            let index = position.unwrap_or_else(|| {
                sources.push(SourceRow::unknown(name));
                sources.len() - 1
            });
            sources[index].take(sample);
        }
        Self {
            machine,
            duration_s: label("duration_s").parse().unwrap_or_default(),
            repeat: label("repeat").parse().unwrap_or_default(),
            lived_ns: life.outcome.value().map(|value| value as u64),
            sources,
        }
    }
}

impl SourceRow {
    fn unknown(source: &str) -> Self {
        Self {
            source: source.into(),
            points_expected: None,
            points_stored: None,
            capture_rate: None,
            phases_told_apart: None,
            skipped: None,
        }
    }

    fn take(&mut self, sample: &Sample) {
        let value = sample.outcome.value();
        match sample.metric.as_str() {
            "points_expected" => self.points_expected = value.map(|value| value as u64),
            "points_stored" => self.points_stored = value.map(|value| value as u64),
            "capture_rate" => self.capture_rate = value,
            "phases_told_apart" => {
                let names = sample.labels.get("phases");
                self.phases_told_apart = names
                    .map(|names| names.split(',').filter(|name| !name.is_empty()).map(Into::into).collect());
            }
            _ => {}
        }
        if let Outcome::Skipped { reason } = &sample.outcome {
            self.skipped = Some(reason.clone());
        }
    }
}
