//! One machine after the other: the warm-ups, and the sequential mode.

use std::collections::BTreeMap;

use super::{Bench, METRIC};
use crate::trial::Trial;
use crate::{Ending, Result};

impl Bench<'_> {
    /// Runs the warm-ups, which are not recorded. Gives an ending when there is no point in going on.
    pub(super) fn warm_up(&self) -> Result<Option<Ending>> {
        for number in 0..self.tti.plan.warmup {
            let Some(trial) = self.one(format!("warmup-{number}")) else {
                return Ok(Some(Ending::Interrupted));
            };
            if let Some((class, message)) = trial.permanent_failure() {
                // The failure that ended the run is on record, though no measured machine had it.
                self.record_failed_warmup(trial)?;
                return Ok(Some(Ending::Stopped { class, message }));
            }
            if let virtmark_model::Outcome::Failure { message, .. } = &trial.outcome {
                self.progress.warn(&format!("warm-up {number} failed: {message}"));
            }
            self.progress.warmed_up();
        }
        Ok(None)
    }

    pub(super) fn sequential(&self) -> Result<Ending> {
        for number in 0..self.tti.plan.iterations.get() {
            let spec = self.spec(format!("tti-{number}"));
            let iteration = self.iterate(&spec, BTreeMap::new());
            // Kept first: a machine that cannot be destroyed must not cost the sample.
            let permanent = iteration.trial.as_ref().and_then(Trial::permanent_failure);
            let recorded = iteration.trial.map(|trial| self.recorder.record(METRIC, trial));
            if let Some(mut machine) = iteration.machine {
                self.end(machine.as_mut());
            }
            let Some(recorded) = recorded else { return Ok(Ending::Interrupted) };
            recorded?;
            if let Some((class, message)) = permanent {
                return Ok(Ending::Stopped { class, message });
            }
        }
        Ok(Ending::Complete)
    }

    /// One machine, destroyed; `None` when the user stopped it.
    fn one(&self, name: String) -> Option<Trial> {
        let iteration = self.iterate(&self.spec(name), BTreeMap::new());
        if let Some(mut machine) = iteration.machine {
            self.end(machine.as_mut());
        }
        iteration.trial
    }

    fn record_failed_warmup(&self, mut trial: Trial) -> Result<()> {
        trial.labels.insert("warmup".into(), "true".into());
        self.recorder.record(METRIC, trial)
    }
}
