//! One machine, from the request to create it until its first command's output is in hand.

use std::time::Instant;

use virtmark_hypervisor::{Error, ExecOutput, Machine, MachineSpec};
use virtmark_model::Stopwatch;

use super::{Bench, METRIC};
use crate::command::{describe, run};
use crate::pace::{Attempt, Launch, Measured};
use crate::trial::Trial;

/// Why an iteration did not reach its end.
enum Halt {
    Failed { step: &'static str, error: Error },
    Interrupted,
}

impl Bench<'_> {
    pub(super) fn iterate(&self, launch: Launch) -> Attempt {
        let Launch { name, mut watch, mut labels } = launch;
        let (limit, machine) = (self.tti.plan.timeout, self.tti.machine.clone());
        let spec = MachineSpec { name, ready_timeout: limit, ..machine };
        let mut machine = None;
        let result = self.steps(&spec, &mut watch, &mut machine);
        labels.extend(machine.iter().flat_map(|machine| machine.labels()));
        let trial = match result {
            Ok(output) => {
                describe(&output, &mut labels);
                Some(Trial::success(watch, labels))
            }
            // Stopping a run ends its VMMs, and what comes of that is no failure of theirs.
            Err(Halt::Failed { .. }) if self.interrupt.is_requested() => None,
            Err(Halt::Failed { step, error }) => Some(Trial::failure(watch, labels, step, &error)),
            Err(Halt::Interrupted) => None,
        };
        Attempt { samples: trial.map(|trial| vec![Measured::time(METRIC, trial)]), machine }
    }

    /// The machine is handed out as soon as it exists, so that it can be destroyed whatever happens then.
    fn steps(
        &self,
        spec: &MachineSpec,
        watch: &mut Stopwatch,
        kept: &mut Option<Box<dyn Machine>>,
    ) -> Result<ExecOutput, Halt> {
        let failed = |step| move |error| Halt::Failed { step, error };

        self.go_on()?;
        let called = Instant::now();
        let (machine, timeline) = self.hypervisor.create(spec).map_err(failed("create"))?;
        watch.append(timeline, called);
        let machine = kept.insert(machine);
        if let Some(observer) = self.observer {
            observer.created(machine.as_ref());
        }

        self.go_on()?;
        let called = Instant::now();
        let timeline = machine.start().map_err(failed("start"))?;
        watch.append(timeline, called);
        if let Some(observer) = self.observer {
            observer.running(machine.as_ref());
        }

        self.go_on()?;
        let called = Instant::now();
        let plan = &self.tti.plan;
        let what = || format!("creating, starting and running {:?}", plan.command);
        let mut output =
            run(machine.as_ref(), &plan.command, plan.timeout, watch, what).map_err(failed("exec"))?;
        watch.append_last(std::mem::take(&mut output.timeline), "exec", called, Instant::now());
        Ok(output)
    }

    fn go_on(&self) -> Result<(), Halt> {
        if self.interrupt.is_requested() { Err(Halt::Interrupted) } else { Ok(()) }
    }
}
