//! One attempt: its time taken apart, its labels, how it ended.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use virtmark_hypervisor::Error;
use virtmark_model::{FailureClass, Outcome, Phase, Stopwatch, Timeline};

/// One attempt that ended with a value or a failure, before it has a place in the run.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) started: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) phases: Vec<Phase>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Trial {
    /// The value is the sum of the phases, which is the whole time that `watch` ran.
    pub(crate) fn success(watch: Stopwatch, labels: BTreeMap<String, String>) -> Self {
        let started = watch.started();
        let timeline = watch.finish();
        let outcome = Outcome::Success { value: timeline.total_ns() as f64 };
        Self { started, outcome, phases: timeline.phases, labels }
    }

    /// Keeps the phases passed before the failure, the step it came in and the time until then.
    pub(crate) fn failure(
        watch: Stopwatch,
        mut labels: BTreeMap<String, String>,
        step: &str,
        error: &Error,
    ) -> Self {
        labels.insert("failed_in".into(), step.into());
        labels.insert("failed_after_ns".into(), watch.elapsed().as_nanos().to_string());
        let started = watch.started();
        let outcome = Outcome::Failure { class: error.class(), message: error.to_string() };
        Self { started, outcome, phases: watch.finish().phases, labels }
    }

    /// The class and message of a failure that the next attempt could not but repeat.
    pub(crate) fn permanent_failure(&self) -> Option<(FailureClass, String)> {
        match &self.outcome {
            Outcome::Failure { class, message } if crate::is_permanent(*class) => {
                Some((*class, message.clone()))
            }
            _ => None,
        }
    }
}

/// Adds the phases of a call that began at `call_started`. What passed between the last phase and the call belongs to
/// the call's first phase, so that no time is lost.
pub(crate) fn append(watch: &mut Stopwatch, timeline: Timeline, call_started: Instant) {
    let mut end_ns = 0;
    for phase in timeline.phases {
        end_ns += phase.duration_ns;
        watch.mark_at(phase.name, call_started + Duration::from_nanos(end_ns));
    }
}

/// As [`append`], for a call after which nothing follows: its last phase ends at `call_ended`.
pub(crate) fn append_last(
    watch: &mut Stopwatch,
    mut timeline: Timeline,
    operation: &'static str,
    call_started: Instant,
    call_ended: Instant,
) {
    let last = timeline.phases.pop();
    append(watch, timeline, call_started);
    match last {
        Some(phase) => watch.mark_at(phase.name, call_ended),
        None => watch.mark_at(operation, call_ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(durations_ns: &[(&'static str, u64)]) -> Timeline {
        let mut start_ns = 0;
        let phases = durations_ns
            .iter()
            .map(|&(name, duration_ns)| {
                let phase = Phase { name: name.into(), start_ns, duration_ns };
                start_ns += duration_ns;
                phase
            })
            .collect();
        Timeline { phases }
    }

    #[test]
    fn gaps_belong_to_the_phase_that_follows_and_nothing_is_lost() {
        let started = Instant::now();
        let mut watch = Stopwatch::start_at(started);
        append(&mut watch, timeline(&[("prepare", 10), ("spawn", 20)]), started + Duration::from_nanos(3));
        append(&mut watch, timeline(&[("init", 40)]), started + Duration::from_nanos(50));
        let phases = watch.finish().phases;
        let ends: Vec<_> =
            phases.iter().map(|phase| (phase.name.as_ref(), phase.start_ns, phase.duration_ns)).collect();
        assert_eq!(ends, [("prepare", 0, 13), ("spawn", 13, 20), ("init", 33, 57)]);
    }

    #[test]
    fn the_last_phase_of_an_operation_ends_with_the_call() {
        let started = Instant::now();
        let ended = started + Duration::from_nanos(100);
        let mut watch = Stopwatch::start_at(started);
        append_last(&mut watch, timeline(&[("pause", 10), ("save", 20)]), "snapshot", started, ended);
        let timeline = watch.finish();
        assert_eq!(timeline.total_ns(), 100);
        assert_eq!(timeline.phase_ns("save"), Some(90));

        let mut watch = Stopwatch::start_at(started);
        append_last(&mut watch, Timeline::default(), "snapshot", started, ended);
        assert_eq!(watch.finish().phase_ns("snapshot"), Some(100));
    }
}
