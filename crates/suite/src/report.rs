//! How the steps of a suite ended, as samples and read back from them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use virtmark_model::{FailureClass, Outcome, Run, RunStatus, Sample, Unit};

use crate::Turn;

/// Name of the scenario in runs of suites.
pub const SCENARIO: &str = "suite";
/// The metric of a step: how long it took, preparation included.
pub const METRIC: &str = "step";

/// Exit codes of a step that has its results: everything, or some iterations, succeeded.
const WITH_RESULTS: [&str; 2] = ["0", "3"];

/// A step that ended, to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended<'a> {
    /// Which one.
    pub turn: Turn,
    /// What the suite calls it.
    pub label: &'a str,
    /// The exit code of its command.
    pub exit: u8,
    /// The run that it made; none when it failed before it could make one.
    pub run: Option<String>,
    /// From the start of the suite to its start.
    pub started_ns: u64,
    /// From its start to its end.
    pub duration_ns: u64,
    /// Why it failed; none when its exit code is 0.
    pub failure: Option<(FailureClass, String)>,
}

impl Ended<'_> {
    /// The sample that stands for it.
    pub fn sample(&self, seq: u64) -> Sample {
        let outcome = match &self.failure {
            // Exact below 2^53 ns, which is 104 days.
            None => Outcome::Success { value: self.duration_ns as f64 },
            Some((class, message)) => Outcome::Failure { class: *class, message: message.clone() },
        };
        let mut sample = skipped(self.turn, self.label, seq, "");
        sample.outcome = outcome;
        sample.started_ns = self.started_ns;
        sample.labels.insert("exit".into(), self.exit.to_string());
        sample.labels.extend(self.run.clone().map(|run| ("run".to_owned(), run)));
        sample.labels.insert("took_ns".into(), self.duration_ns.to_string());
        sample
    }
}

/// The sample of a step that is not run, with the reason.
pub fn skipped(turn: Turn, label: &str, seq: u64, reason: &str) -> Sample {
    let labels = [
        ("label", label.to_owned()),
        ("repetition", turn.repetition.to_string()),
        ("step", turn.step.to_string()),
    ];
    Sample {
        seq,
        metric: METRIC.into(),
        unit: Unit::Ns,
        started_ns: 0,
        outcome: Outcome::Skipped { reason: reason.into() },
        phases: Vec::new(),
        labels: BTreeMap::from(labels.map(|(name, value)| (name.to_owned(), value))),
    }
}

/// The suite that a run belongs to, by its id: of the runs of its steps, and of its own.
pub fn suite_of(run: &Run) -> Option<&str> {
    run.configuration.get("suite")?.get("id")?.as_str()
}

/// The turns that need not be run again: those of which there are results.
pub fn done<'s>(samples: impl IntoIterator<Item = &'s Sample>) -> BTreeSet<Turn> {
    let with_results = |sample: &&Sample| {
        sample.labels.get("exit").is_some_and(|exit| WITH_RESULTS.contains(&exit.as_str()))
    };
    samples.into_iter().filter(with_results).filter_map(turn).collect()
}

/// How a suite went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SuiteReport {
    /// `suite`.
    pub scenario: String,
    /// The run of the suite that this tells of.
    pub run_id: String,
    /// The suite's id: that of its first run, where it was gone on with.
    pub suite_id: String,
    /// The suite's name.
    pub name: String,
    /// How it ended.
    pub status: RunStatus,
    /// Steps that ended with exit code 0.
    pub succeeded: u64,
    /// Steps that ended otherwise.
    pub failed: u64,
    /// Steps that were not run, because one before them failed.
    pub skipped: u64,
    /// Each of them, in the order in which they were run.
    pub steps: Vec<StepReport>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// Position in the file, from 1.
    pub step: u32,
    /// Which time it was run, from 1.
    pub repetition: u32,
    /// What the suite calls it.
    pub label: String,
    /// Exit code of its command; none when it was not run.
    pub exit: Option<u8>,
    /// The run that it made.
    pub run_id: Option<String>,
    /// How long it took, preparation included.
    pub duration_ns: Option<u64>,
    /// Why it failed, or was not run.
    pub message: Option<String>,
}

impl SuiteReport {
    /// Reads a suite's run back. Samples that no step can have are left out.
    pub fn from_samples(run: &Run, samples: &[Sample]) -> Self {
        let count =
            |of: fn(&Outcome) -> bool| samples.iter().filter(|sample| of(&sample.outcome)).count() as u64;
        let name = run.configuration["suite"]["name"].as_str().unwrap_or_default();
        Self {
            scenario: run.scenario.clone(),
            run_id: run.id.to_string(),
            suite_id: suite_of(run).unwrap_or(run.id.as_str()).into(),
            name: name.into(),
            status: run.status,
            succeeded: count(|outcome| matches!(outcome, Outcome::Success { .. })),
            failed: count(|outcome| matches!(outcome, Outcome::Failure { .. })),
            skipped: count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
            steps: samples.iter().filter_map(StepReport::of).collect(),
        }
    }
}

impl StepReport {
    fn of(sample: &Sample) -> Option<Self> {
        let Turn { step, repetition } = turn(sample)?;
        let label = |name: &str| sample.labels.get(name);
        let message = match &sample.outcome {
            Outcome::Failure { message, .. } => Some(message.clone()),
            Outcome::Skipped { reason } => Some(reason.clone()),
            Outcome::Success { .. } => None,
        };
        Some(Self {
            step,
            repetition,
            label: label("label").cloned().unwrap_or_default(),
            exit: label("exit").and_then(|exit| exit.parse().ok()),
            run_id: label("run").cloned(),
            duration_ns: label("took_ns").and_then(|took| took.parse().ok()),
            message,
        })
    }
}

fn turn(sample: &Sample) -> Option<Turn> {
    let number = |name: &str| sample.labels.get(name)?.parse().ok();
    Some(Turn { step: number("step")?, repetition: number("repetition")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(step: u32, exit: u8) -> Sample {
        let failure = (exit != 0).then(|| (FailureClass::Other, format!("exit {exit}")));
        let turn = Turn { step, repetition: 1 };
        let run = Some(format!("tti-{step}"));
        Ended { turn, label: "x", exit, run, started_ns: 5, duration_ns: 70, failure }.sample(u64::from(step))
    }

    #[test]
    fn what_has_results_is_done_and_the_rest_is_not() {
        let turn = |step| Turn { step, repetition: 1 };
        let samples = [ended(1, 0), ended(2, 3), ended(3, 4), skipped(turn(4), "x", 4, "step 3 failed")];
        assert_eq!(done(&samples), BTreeSet::from([turn(1), turn(2)]));
    }

    #[test]
    fn steps_read_back() {
        let samples = [ended(1, 0), ended(2, 17), skipped(Turn { step: 3, repetition: 2 }, "y", 4, "why")];
        let steps: Vec<_> = samples.iter().filter_map(StepReport::of).collect();
        assert_eq!(
            (steps[0].exit, steps[0].duration_ns, steps[0].message.as_deref()),
            (Some(0), Some(70), None)
        );
        assert_eq!((steps[1].exit, steps[1].run_id.as_deref()), (Some(17), Some("tti-2")));
        assert_eq!(steps[1].duration_ns, Some(70));
        assert_eq!(
            steps[2],
            StepReport {
                step: 3,
                repetition: 2,
                label: "y".into(),
                exit: None,
                run_id: None,
                duration_ns: None,
                message: Some("why".into()),
            }
        );
    }
}
