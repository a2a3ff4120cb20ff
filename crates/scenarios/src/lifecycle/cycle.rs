//! One machine, taken through its whole life.

use std::collections::BTreeMap;
use std::time::Instant;

use virtmark_hypervisor::{
    Capability, Command, Error, ExecOutput, Hypervisor, Machine, MachineSpec, Observer, Result, Snapshot,
    StopMode,
};
use virtmark_model::{Stopwatch, Timeline};

use super::{Lifecycle, Operation};
use crate::destroy::end;
use crate::kept::Kept;
use crate::recorder::Recorder;
use crate::trial::Trial;
use crate::{Ending, Interrupt, Progress};

/// One machine, taken through its whole life.
pub(super) struct Cycle<'a> {
    pub(super) lifecycle: &'a Lifecycle,
    pub(super) hypervisor: &'a dyn Hypervisor,
    pub(super) progress: &'a dyn Progress,
    pub(super) observer: Option<&'a dyn Observer>,
    pub(super) interrupt: &'a dyn Interrupt,
    pub(super) recorder: &'a Recorder<'a>,
    /// Of a warm-up only the failure that ends the run is recorded.
    pub(super) warmup: bool,
    pub(super) name: String,
}

/// Why a life ended before its last operation.
enum Halt {
    /// An operation failed; the ending when the next life could not but repeat it.
    Failed(Option<Ending>),
    /// The user wants it.
    Interrupted,
    /// A sample could not be kept.
    Unkept(crate::Error),
}

impl<'a> Cycle<'a> {
    /// Gives an ending when there is no point in another life.
    pub(super) fn run(&self) -> crate::Result<Option<Ending>> {
        match self.live() {
            Ok(()) => Ok(None),
            Err(Halt::Failed(ending)) => Ok(ending),
            Err(Halt::Interrupted) => Ok(Some(Ending::Interrupted)),
            Err(Halt::Unkept(error)) => Err(error),
        }
    }

    fn live(&self) -> Result<(), Halt> {
        let spec = self.spec(&self.name);
        let machine = self.timed(Operation::Create, || self.hypervisor.create(&spec))?;
        let mut machine = self.guard(machine);
        self.timed(Operation::Start, || Ok(((), machine.machine.start()?)))?;
        machine.runs();
        if Operation::Snapshot.is_possible(self.hypervisor) {
            self.snapshot_and_restore(machine.machine.as_mut())?;
        }
        machine.ends();
        self.stop(machine.machine.as_mut())?;
        self.timed(Operation::Destroy, || Ok(((), machine.machine.destroy()?)))
    }

    fn snapshot_and_restore(&self, machine: &mut dyn Machine) -> Result<(), Halt> {
        let directory = self.lifecycle.scratch.join(format!("{}-snapshot", self.name));
        let mut kept = Kept::place(self.hypervisor, self.progress, directory);
        let snapshot = self.timed(Operation::Snapshot, || machine.snapshot(kept.directory()))?;
        let snapshot = kept.hold(snapshot);
        if !Operation::Restore.is_possible(self.hypervisor) {
            return Ok(());
        }
        match self.restore(snapshot) {
            // The first machine is as it was, and its end can still be measured.
            Err(Halt::Failed(None)) => Ok(()),
            result => result,
        }
    }

    /// A machine that was restored and does not answer a command was not restored.
    fn restore(&self, snapshot: &Snapshot) -> Result<(), Halt> {
        let spec = self.spec(&format!("{}-restored", self.name));
        // The second machine is gone when this closure ends, before its sample is kept.
        self.measured(Operation::Restore, |watch| {
            let called = Instant::now();
            let (machine, timeline) = self.hypervisor.restore(snapshot, &spec)?;
            watch.append_last(timeline, "restore", called, Instant::now());
            let machine = self.guard(machine);
            machine.runs();
            let mut command = Command::shell("exit 0");
            command.timeout = Some(spec.ready_timeout);
            let output =
                machine.machine.guest()?.exec(&command).map_err(|error| machine.machine.explain(error))?;
            if output.success() { Ok(()) } else { Err(unanswered(machine.machine.name(), &output)) }
        })
    }

    /// A guest that was asked and had to be forced did not stop; its time would be that of the deadline.
    fn stop(&self, machine: &mut dyn Machine) -> Result<(), Halt> {
        let mode = self.stop_mode();
        self.measured(Operation::Stop, |watch| {
            let called = Instant::now();
            let timeline = machine.stop(mode)?;
            let forced = timeline.phase_ns("force").is_some();
            watch.append_last(timeline, Operation::Stop.metric(), called, Instant::now());
            match mode {
                StopMode::Graceful { deadline } if forced => Err(Error::Timeout {
                    machine: machine.name().into(),
                    request: "the graceful stop".into(),
                    timeout: deadline,
                    console: machine.console_tail(),
                }),
                StopMode::Forced | StopMode::Graceful { .. } => Ok(()),
            }
        })
    }

    fn guard(&self, machine: Box<dyn Machine>) -> Guard<'a> {
        if let Some(observer) = self.observer {
            observer.created(machine.as_ref());
        }
        Guard { machine, progress: self.progress, observer: self.observer }
    }

    /// Times one operation and keeps its sample.
    fn timed<T>(
        &self,
        operation: Operation,
        call: impl FnOnce() -> Result<(T, Timeline)>,
    ) -> Result<T, Halt> {
        self.measured(operation, |watch| {
            let called = Instant::now();
            let (value, timeline) = call()?;
            watch.append_last(timeline, operation.metric(), called, Instant::now());
            Ok(value)
        })
    }

    /// Keeps the sample of one operation. What the user's stop caused is no failure.
    fn measured<T>(
        &self,
        operation: Operation,
        attempt: impl FnOnce(&mut Stopwatch) -> Result<T>,
    ) -> Result<T, Halt> {
        if self.interrupt.is_requested() {
            return Err(Halt::Interrupted);
        }
        let mut watch = Stopwatch::start();
        let result = attempt(&mut watch);
        let labels = self.labels(operation);
        match result {
            Ok(value) => {
                if !self.warmup {
                    self.record(operation, Trial::success(watch, labels))?;
                }
                Ok(value)
            }
            Err(_) if self.interrupt.is_requested() => Err(Halt::Interrupted),
            Err(error) => {
                let trial = Trial::failure(watch, labels, operation.metric(), &error);
                let ending =
                    trial.permanent_failure().map(|(class, message)| Ending::Stopped { class, message });
                if self.warmup && ending.is_none() {
                    self.progress.warn(&format!("{} failed to {operation}: {error}", self.name));
                } else {
                    self.record(operation, trial)?;
                }
                Err(Halt::Failed(ending))
            }
        }
    }

    fn record(&self, operation: Operation, trial: Trial) -> Result<(), Halt> {
        self.recorder.record(operation.metric(), trial).map_err(Halt::Unkept)
    }

    fn labels(&self, operation: Operation) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([("machine".into(), self.name.clone())]);
        if self.warmup {
            labels.insert("warmup".into(), "true".into());
        }
        if operation == Operation::Stop {
            let mode = if self.stop_mode() == StopMode::Forced { "forced" } else { "graceful" };
            labels.insert("stop_mode".into(), mode.into());
        }
        labels
    }

    fn stop_mode(&self) -> StopMode {
        if self.hypervisor.capabilities().has(Capability::GracefulStop) {
            StopMode::Graceful { deadline: self.lifecycle.stop_deadline }
        } else {
            StopMode::Forced
        }
    }

    fn spec(&self, name: &str) -> MachineSpec {
        MachineSpec { name: name.into(), snapshots: true, ..self.lifecycle.machine.clone() }
    }
}

fn unanswered(machine: &str, output: &ExecOutput) -> Error {
    Error::AgentRefused {
        machine: machine.into(),
        request: "run a command after the restore".into(),
        reason: format!("it ended with {:?}", output.status),
    }
}

/// A machine that is destroyed on every way out, which is not timed.
struct Guard<'a> {
    machine: Box<dyn Machine>,
    progress: &'a dyn Progress,
    /// Gone once it was told of the machine's end.
    observer: Option<&'a dyn Observer>,
}

impl Guard<'_> {
    fn runs(&self) {
        if let Some(observer) = self.observer {
            observer.running(self.machine.as_ref());
        }
    }

    fn ends(&mut self) {
        if let Some(observer) = self.observer.take() {
            observer.ending(self.machine.as_ref());
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Told, and none of the life's samples.
        let _ = end(self.machine.as_mut(), self.observer.take(), self.progress);
    }
}
