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

/// How a suite went, all of its parts together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SuiteReport {
    /// `suite`.
    pub scenario: String,
    /// The run of the suite that did its last part.
    pub run_id: String,
    /// The suite's id: that of its first run, where it was gone on with.
    pub suite_id: String,
    /// The suite's name.
    pub name: String,
    /// How its last part ended.
    pub status: RunStatus,
    /// The runs that did its parts, oldest first: one, and one more each time it was gone on with.
    pub parts: Vec<String>,
    /// Steps that ended with exit code 0.
    pub succeeded: u64,
    /// Steps that ended otherwise.
    pub failed: u64,
    /// Steps that were not run, because one before them failed or the time was over.
    pub skipped: u64,
    /// Steps that nobody came to: the suite was stopped before.
    pub left: u64,
    /// Each that is not left, in the order in which they were run. Of one that was run again, how it ended at last.
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
    /// Reads a suite back from the runs that did its parts, oldest first, each with its samples; none when there are
    /// no parts. Samples that no step can have are left out.
    pub fn from_parts<'a>(parts: impl IntoIterator<Item = (&'a Run, &'a [Sample])>) -> Option<Self> {
        let mut steps: Vec<StepReport> = Vec::new();
        let (mut ids, mut last) = (Vec::new(), None);
        for (run, samples) in parts {
            for step in samples.iter().filter_map(StepReport::of) {
                let ended = |earlier: &StepReport| earlier.turn() == step.turn() && earlier.exit.is_some();
                // What was not run again ended as it did before.
                if step.exit.is_some() || !steps.iter().any(ended) {
                    steps.retain(|earlier| earlier.turn() != step.turn());
                    steps.push(step);
                }
            }
            ids.push(run.id.to_string());
            last = Some(run);
        }
        let run = last?;
        let suite = &run.configuration["suite"];
        let asked_for = suite["steps"].as_array().into_iter().flatten();
        let asked_for: u64 = asked_for.filter_map(|step| step["repetitions"].as_u64()).sum();
        let count = |of: fn(u8) -> bool| steps.iter().filter(|step| step.exit.is_some_and(of)).count() as u64;
        Some(Self {
            scenario: run.scenario.clone(),
            run_id: run.id.to_string(),
            suite_id: suite_of(run).unwrap_or(run.id.as_str()).into(),
            name: suite["name"].as_str().unwrap_or_default().into(),
            status: run.status,
            parts: ids,
            succeeded: count(|exit| exit == 0),
            failed: count(|exit| exit != 0),
            skipped: steps.iter().filter(|step| step.exit.is_none()).count() as u64,
            left: asked_for.saturating_sub(steps.len() as u64),
            steps,
        })
    }
}

impl StepReport {
    /// Which one it is.
    pub fn turn(&self) -> Turn {
        Turn { step: self.step, repetition: self.repetition }
    }

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

    /// What it is called beside all of its suite: by its label, with the number of the repetition where it has several.
    pub fn name(&self, all: &[Self]) -> String {
        let repeated = all.iter().any(|other| other.step == self.step && other.repetition > 1);
        if repeated { format!("{} #{}", self.label, self.repetition) } else { self.label.clone() }
    }
}

fn turn(sample: &Sample) -> Option<Turn> {
    let number = |name: &str| sample.labels.get(name)?.parse().ok();
    Some(Turn { step: number("step")?, repetition: number("repetition")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use virtmark_model::Environment;

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

    fn part(id: &str, status: RunStatus) -> Run {
        let suite = json!({"id": "suite-1", "name": "x", "steps": [{"repetitions": 2}, {"repetitions": 3}]});
        Run {
            id: id.parse().unwrap(),
            scenario: SCENARIO.into(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            finished_at: None,
            status,
            configuration: json!({ "suite": suite }),
            environment: Environment::default(),
        }
    }

    #[test]
    fn what_failed_in_an_earlier_part_counts_until_it_is_run_again() {
        let (first, second) = (part("suite-1", RunStatus::Interrupted), part("suite-2", RunStatus::Complete));
        let begun =
            [ended(1, 0), ended(2, 3), ended(3, 4), skipped(Turn { step: 4, repetition: 1 }, "x", 4, "y")];
        let report = SuiteReport::from_parts([(&first, begun.as_slice())]).unwrap();
        assert_eq!((report.succeeded, report.failed, report.skipped, report.left), (1, 2, 1, 1));

        let gone_on = [ended(3, 0), ended(4, 0), ended(5, 0)];
        let parts = [(&first, begun.as_slice()), (&second, gone_on.as_slice())];
        let report = SuiteReport::from_parts(parts).unwrap();
        assert_eq!((report.succeeded, report.failed, report.skipped, report.left), (4, 1, 0, 0));
        assert_eq!((report.run_id.as_str(), report.suite_id.as_str()), ("suite-2", "suite-1"));
        assert_eq!(
            (report.status, report.parts),
            (RunStatus::Complete, vec!["suite-1".into(), "suite-2".into()])
        );
        let steps: Vec<_> = report.steps.iter().map(|step| (step.step, step.exit)).collect();
        assert_eq!(steps, [(1, Some(0)), (2, Some(3)), (3, Some(0)), (4, Some(0)), (5, Some(0))]);
        let cut = [skipped(Turn { step: 3, repetition: 1 }, "x", 0, "no time"), ended(4, 0)];
        let report =
            SuiteReport::from_parts([(&first, begun.as_slice()), (&second, cut.as_slice())]).unwrap();
        assert_eq!((report.succeeded, report.failed, report.skipped, report.left), (2, 2, 0, 1));
        assert_eq!(SuiteReport::from_parts([]), None);
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
        let names: Vec<_> = steps.iter().map(|step| step.name(&steps)).collect();
        assert_eq!(names, ["x", "x", "y #2"]);
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
