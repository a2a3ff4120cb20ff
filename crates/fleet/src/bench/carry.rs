//! Doing what is left of a bench.

use jiff::Timestamp;
use serde::Serialize;
use virtmark_hypervisor::Cancel;

use super::state::{Done, State, Step};
use crate::provider::Replicas;
use crate::{Need, Verdict};

/// What a bench needs to be told by whoever carries it out.
pub trait Work {
    /// What can go wrong that ends it.
    type Error: From<super::StateError>;

    /// Sets up the machines. Called once, and only when there is something to do.
    fn set_up(&mut self) -> Result<Replicas, Self::Error>;

    /// Runs one step, and tells the name of the run, how it went, and in a line what went wrong. An error ends the bench:
    /// what went wrong on machines is none.
    fn run(
        &mut self,
        step: &Step,
        machines: &Replicas,
    ) -> Result<(String, Verdict, Option<String>), Self::Error>;

    /// The machines are torn down.
    fn tear_down(&mut self, machines: Replicas) {
        drop(machines);
    }

    /// The name of a payload, for people.
    fn payload(&self, at: usize) -> String;
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The payload's name.
    pub payload: String,
    /// Which run of it, from 1.
    pub repetition: u32,
    /// What became of it.
    pub status: StepStatus,
    /// Whether it was run now.
    pub changed: bool,
    /// Whether it was to be run, and did not succeed on all machines.
    pub failed: bool,
    /// The run that has the results; none where it was not run.
    pub run: Option<String>,
    /// Why it failed or was not run, in one line.
    pub msg: Option<String>,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It was done before.
    AlreadyDone,
    /// It succeeded on all machines.
    Done,
    /// It was run and failed on all machines, or on none of them it could be.
    Failed,
    /// It was not run: the user stopped, or too few machines are left.
    NotRun,
    /// It succeeded on some machines.
    Partly,
}

/// Does the steps that are not done, in their order, on machines that are set up for the first of them; with `again` all.
///
/// A step that fails costs no other, and is tried again the next time. The error of a set-up, or of a step that could
/// not be run at all, comes back with what became of the steps until then.
pub fn carry_out<W: Work>(
    steps: &[Step],
    state: &mut State,
    need: Need,
    again: bool,
    work: &mut W,
    cancel: &Cancel,
) -> (Vec<StepReport>, Result<(), W::Error>) {
    let mut reports: Vec<StepReport> = steps
        .iter()
        .map(|step| {
            let done = state.done(&step.key).filter(|_| !again);
            let status = if done.is_some() { StepStatus::AlreadyDone } else { StepStatus::NotRun };
            StepReport {
                payload: work.payload(step.payload),
                repetition: step.repetition,
                status,
                changed: false,
                failed: done.is_none(),
                run: done.map(|done| done.run.clone()),
                msg: None,
            }
        })
        .collect();
    if reports.iter().all(|report| report.status == StepStatus::AlreadyDone) {
        return (reports, Ok(()));
    }
    let machines = match work.set_up() {
        Ok(machines) => machines,
        Err(error) => return (reports, Err(error)),
    };
    let result = each(steps, &mut reports, &machines, state, need, work, cancel);
    work.tear_down(machines);
    (reports, result)
}

fn each<W: Work>(
    steps: &[Step],
    reports: &mut [StepReport],
    machines: &Replicas,
    state: &mut State,
    need: Need,
    work: &mut W,
    cancel: &Cancel,
) -> Result<(), W::Error> {
    let count = machines.map().machines().len();
    let to_do = steps.iter().zip(reports).filter(|(_, report)| report.status == StepStatus::NotRun);
    for (step, report) in to_do {
        if cancel.is_cancelled() {
            report.msg = Some("stopped before it".into());
            continue;
        }
        let ended = machines.ended();
        if count - ended.len() < need.count(count) {
            let reasons: Vec<String> =
                ended.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
            report.msg =
                Some(format!("{need} machines are needed, and some have ended: {}", reasons.join(", ")));
            continue;
        }
        // Whatever becomes of its result: the machines are not what they were.
        report.changed = true;
        let (run, verdict, msg) = work.run(step, machines)?;
        report.run = Some(run.clone());
        report.status = match verdict {
            Verdict::AllSucceeded => StepStatus::Done,
            Verdict::NoneSucceeded | Verdict::NotReady => StepStatus::Failed,
            Verdict::SomeSucceeded => StepStatus::Partly,
        };
        report.failed = verdict != Verdict::AllSucceeded;
        report.msg = msg;
        if !report.failed {
            let (key, repetition) = (step.key.clone(), step.repetition);
            let ended_at = Timestamp::now();
            state.keep(Done { key, payload: report.payload.clone(), repetition, run, ended_at })?;
        }
    }
    Ok(())
}
