//! One attempt: its time taken apart, its labels, how it ended.

use std::collections::BTreeMap;
use std::time::Instant;

use virtmark_hypervisor::Error;
use virtmark_model::{FailureClass, Outcome, Phase, Stopwatch};

/// One attempt that ended with a value or a failure, before it has a place in the run.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) started: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) phases: Vec<Phase>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether a failure is a refusal of this attempt only, whatever its class.
    pub(crate) is_passing: bool,
}

impl Trial {
    /// The value is the sum of the phases, which is the whole time that `watch` ran.
    pub(crate) fn success(watch: Stopwatch, labels: BTreeMap<String, String>) -> Self {
        let started = watch.started();
        let timeline = watch.finish();
        let outcome = Outcome::Success { value: timeline.total_ns() as f64 };
        Self { started, outcome, phases: timeline.phases, labels, is_passing: false }
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
        let is_passing = error.is_passing();
        Self { started, outcome, phases: watch.finish().phases, labels, is_passing }
    }

    /// The class and message of a failure that the next attempt could not but repeat.
    pub(crate) fn permanent_failure(&self) -> Option<(FailureClass, String)> {
        match &self.outcome {
            Outcome::Failure { class, message } if !self.is_passing && crate::is_permanent(*class) => {
                Some((*class, message.clone()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_one_attempt_ends_no_run() {
        let trial = |class, is_passing| {
            let (action, reason) = ("create m1".into(), "no room".into());
            let error = Error::Remote { class, is_passing, action, reason };
            Trial::failure(Stopwatch::start(), BTreeMap::new(), "create", &error)
        };
        let lasting = trial(FailureClass::OutOfMemory, false).permanent_failure();
        assert_eq!(lasting, Some((FailureClass::OutOfMemory, "cannot create m1: no room".into())));
        for passing in [trial(FailureClass::OutOfMemory, true), trial(FailureClass::Other, false)] {
            assert_eq!(passing.permanent_failure(), None);
        }
        // It is counted under its class all the same.
        assert_eq!(trial(FailureClass::OutOfMemory, true).outcome.failure(), Some(FailureClass::OutOfMemory));
    }
}
