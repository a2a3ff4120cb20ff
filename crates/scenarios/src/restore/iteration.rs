//! One restored machine, from the request until it has shown what it remembers.

use std::collections::BTreeMap;
use std::time::Instant;

use virtmark_hypervisor::{Error, Machine};
use virtmark_model::{Outcome, Stopwatch, Unit};

use super::fixture::{question, remembers};
use super::{Bench, PRIVATE, PSS, RESTORE_ONLY, RESTORE_TTI, not_restored};
use crate::command::{describe, run};
use crate::pace::{Attempt, Launch, Measured};
use crate::trial::Trial;

impl Bench<'_> {
    pub(super) fn iterate(&self, launch: Launch) -> Attempt {
        let Launch { name, mut watch, mut labels } = launch;
        if self.interrupt.is_requested() {
            return Attempt { samples: None, machine: None };
        }
        let mut samples = Vec::new();
        let machine = match self.restore_one(&name, &mut watch) {
            Ok(machine) => machine,
            Err(_) if self.interrupt.is_requested() => return Attempt { samples: None, machine: None },
            Err(error) => {
                // The same failure stands in the place of both values; it is counted once, with the whole attempt's.
                for metric in [RESTORE_ONLY, RESTORE_TTI] {
                    let trial = Trial::failure(watch.clone(), labels.clone(), "restore", &error);
                    samples.push(Measured::time(metric, trial));
                }
                return Attempt { samples: Some(samples), machine: None };
            }
        };
        labels.extend(machine.labels());
        samples.push(Measured::time(RESTORE_ONLY, Trial::success(watch.clone(), labels.clone())));
        let trial = match self.ask(machine.as_ref(), &mut watch, &mut labels) {
            Ok(()) => Trial::success(watch, labels.clone()),
            Err(_) if self.interrupt.is_requested() => {
                return Attempt { samples: None, machine: Some(machine) };
            }
            Err(error) => Trial::failure(watch, labels.clone(), "sanity_exec", &error),
        };
        let answered = trial.outcome.value().is_some();
        samples.push(Measured::time(RESTORE_TTI, trial));
        if answered {
            samples.extend(self.memory(machine.as_ref(), &labels));
        }
        Attempt { samples: Some(samples), machine: Some(machine) }
    }

    /// A restored machine; its phases are in `watch`, which ends with the call.
    pub(super) fn restore_one(&self, name: &str, watch: &mut Stopwatch) -> Result<Box<dyn Machine>, Error> {
        let spec = self.spec(name.into());
        let called = Instant::now();
        let (machine, timeline) = self.hypervisor.restore(self.snapshot, &spec)?;
        watch.append_last(timeline, "restore", called, Instant::now());
        if let Some(observer) = self.observer {
            observer.created(machine.as_ref());
            observer.running(machine.as_ref());
        }
        Ok(machine)
    }

    /// An answer that does not show the change is a failure: a machine without it was not restored.
    fn ask(
        &self,
        machine: &dyn Machine,
        watch: &mut Stopwatch,
        labels: &mut BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let called = Instant::now();
        let what = || "restoring it and asking for what it remembers".into();
        let mut output = run(machine, &question(), self.restore.plan.timeout, watch, what)?;
        watch.append_last(std::mem::take(&mut output.timeline), "exec", called, Instant::now());
        describe(&output, labels);
        if remembers(&output.stdout) {
            return Ok(());
        }
        let said = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let reason = format!("it answered {:?} {:?}", said(&output.stdout), said(&output.stderr));
        Err(not_restored(machine.name(), "show the change that was made before the snapshot", reason))
    }

    /// What it takes of the host's memory, as far as the host can tell; untimed.
    fn memory(&self, machine: &dyn Machine, labels: &BTreeMap<String, String>) -> Vec<Measured> {
        let started = Instant::now();
        let usage = match machine.usage() {
            Ok(usage) => usage,
            Err(error) => {
                self.progress.warn(&format!("cannot read the memory of {}: {error}", machine.name()));
                return Vec::new();
            }
        };
        let bytes = |metric, value: Option<u64>| {
            let outcome = Outcome::Success { value: value? as f64 };
            let labels = labels.clone();
            let trial = Trial { started, outcome, phases: Vec::new(), labels, is_passing: false };
            Some(Measured { metric, unit: Unit::Bytes, trial })
        };
        [bytes(PSS, usage.pss_bytes), bytes(PRIVATE, usage.private_bytes)].into_iter().flatten().collect()
    }
}
