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
