//! One machine after the other: the warm-ups, and the sequential mode.

use super::drive::{Drive, Launch, Task, failure, permanent};
use crate::{Ending, Result};

impl<T: Task> Drive<'_, T> {
    /// Runs the warm-ups, which are not recorded. Gives an ending when there is no point in going on.
    pub(super) fn warm_up(&self) -> Result<Option<Ending>> {
        for number in 0..self.pace.warmup {
            let attempt = self.task.attempt(Launch::now(format!("warmup-{number}")));
            if let Some(mut machine) = attempt.machine {
                self.task.end(machine.as_mut());
            }
            let Some(samples) = attempt.samples else { return Ok(Some(Ending::Interrupted)) };
            if let Some((class, message)) = permanent(&samples) {
                // The failure that ended the run is on record, though no measured machine had it.
                let mut failed = samples;
                failed.retain(|sample| sample.failed());
                for sample in &mut failed {
                    sample.trial.labels.insert("warmup".into(), "true".into());
                }
                self.keep(failed)?;
                return Ok(Some(Ending::Stopped { class, message }));
            }
            if let Some(message) = failure(&samples) {
                self.progress.warn(&format!("warm-up {number} failed: {message}"));
            }
            self.progress.warmed_up();
        }
        Ok(None)
    }

    pub(super) fn sequential(&self) -> Result<Ending> {
        for number in self.block.share(self.pace.iterations.get()) {
            let attempt = self.task.attempt(Launch::now(self.machine_name(number)));
            // Kept first: a machine that cannot be destroyed must not cost the sample.
            let kept = attempt.samples.map(|samples| self.keep(samples));
            let ended = attempt.machine.map(|mut machine| self.end(machine.as_mut()));
            let Some(kept) = kept else { return Ok(Ending::Interrupted) };
            if let Some((class, message)) = kept? {
                return Ok(Ending::Stopped { class, message });
            }
            ended.transpose()?;
        }
        Ok(Ending::Complete)
    }
}
