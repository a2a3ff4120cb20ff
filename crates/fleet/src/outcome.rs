//! What became of one machine.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use virtmark_model::{Outcome, Phase, Sample, Unit};
use virtmark_payload::metric::Results;

use crate::Failure;
use crate::map::Machine;

/// The metric of a payload's run: from its start to the end of its output, as this host saw it.
pub const RUN_METRIC: &str = "payload_run";

/// The label of such a sample that has the payload's exit code.
pub const EXIT_CODE_LABEL: &str = "exit_code";

/// A part of the work on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Until a command is answered.
    Ready,
    /// The payload is sent, and its checksum compared.
    Upload,
    /// It is unpacked, and the programs that it needs are looked for.
    Unpack,
    /// It runs, and its output comes home.
    Run,
    /// The output is brought to disk, and its results are read.
    Collect,
}

impl Stage {
    /// The name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Upload => "upload",
            Self::Unpack => "unpack",
            Self::Run => "run",
            Self::Collect => "collect",
        }
    }
}

/// How long a stage took, on this host's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageTime {
    /// Which.
    pub stage: Stage,
    /// From the start of the run to its start.
    pub started_ns: u64,
    /// From its start to its end, all attempts together.
    pub duration_ns: u64,
    /// How often it was tried.
    pub attempts: u32,
}

/// A time as results have it.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What became of one machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachineRun {
    /// Which.
    #[serde(flatten)]
    pub machine: Machine,
    /// Whether the payload ended with exit code 0 and everything is home.
    pub succeeded: bool,
    /// Why not.
    pub failure: Option<Failure>,
    /// The stage in which it failed.
    pub failed_stage: Option<Stage>,
    /// The payload's exit code, where it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that killed the payload, where the machine's SSH server told.
    pub signal: Option<String>,
    /// The stages that were begun.
    pub stages: Vec<StageTime>,
    /// Size of its standard output, as far as it came home.
    pub stdout_bytes: u64,
    /// Size of its standard error, as far as it came home.
    pub stderr_bytes: u64,
    /// What it measured.
    #[serde(flatten)]
    pub results: Results,
}

impl MachineRun {
    /// A machine on which nothing has happened yet.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            succeeded: false,
            failure: None,
            failed_stage: None,
            exit_code: None,
            signal: None,
            stages: Vec::new(),
            stdout_bytes: 0,
            stderr_bytes: 0,
            results: Results::default(),
        }
    }

    /// The time of a stage that was begun.
    pub fn stage(&self, stage: Stage) -> Option<&StageTime> {
        self.stages.iter().find(|time| time.stage == stage)
    }

    /// As samples for the archive: the payload's run with the stages as its phases, or the failure, and one for each
    /// metric that it printed, also of a payload that failed later. `seq` is that of the first.
    pub fn samples(&self, payload: &str, seq: u64) -> Vec<Sample> {
        let labels = BTreeMap::from([
            ("machine".to_owned(), self.machine.name.clone()),
            ("address".to_owned(), self.machine.address.to_string()),
            ("payload".to_owned(), payload.to_owned()),
        ]);
        let run = self.stage(Stage::Run);
        let started_ns = run.or(self.stages.first()).map_or(0, |time| time.started_ns);
        let outcome = match (&self.failure, run) {
            (None, Some(run)) => Outcome::Success { value: run.duration_ns as f64 },
            (Some(failure), _) => {
                let message = format!("{}: {}", self.machine.name, failure.message);
                Outcome::Failure { class: failure.kind.class(), message }
            }
            (None, None) => Outcome::Skipped { reason: "nothing was run".into() },
        };
        let first_ns = self.stages.first().map_or(0, |time| time.started_ns);
        let phases = self.stages.iter().map(|time| Phase {
            name: time.stage.as_str().into(),
            start_ns: time.started_ns.saturating_sub(first_ns),
            duration_ns: time.duration_ns,
        });
        let mut of_run = labels.clone();
        of_run.extend(self.exit_code.map(|code| (EXIT_CODE_LABEL.to_owned(), code.to_string())));
        let run = Sample {
            seq,
            metric: RUN_METRIC.into(),
            unit: Unit::Ns,
            started_ns,
            outcome,
            phases: phases.collect(),
            labels: of_run,
        };
        let metrics = self.results.metrics.iter().zip(seq + 1..).map(|(metric, seq)| {
            let reading = metric.reading();
            let mut labels = labels.clone();
            labels.extend(reading.of.map(|of| ("of".to_owned(), of)));
            labels.extend(metric.better.map(|better| ("better".to_owned(), better.as_str().to_owned())));
            Sample {
                seq,
                metric: metric.name.clone(),
                unit: reading.unit,
                started_ns,
                outcome: Outcome::Success { value: reading.value },
                phases: Vec::new(),
                labels,
            }
        });
        std::iter::once(run).chain(metrics).collect()
    }
}
