//! Several machines at once: burst and staggered.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Error, Machine};
use virtmark_model::{FailureClass, Stopwatch};

use super::{Bench, METRIC, Mode};
use crate::trial::Trial;
use crate::{Ending, Result};

/// The longest sleep of a machine's thread before it looks whether its launch is still wanted.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// What became of one place in a wave.
enum Slot {
    /// Measured or failed, and recorded; what the failure was when the next could not but repeat it.
    Recorded { permanent: Option<(FailureClass, String)> },
    /// Never launched, or stopped by the user.
    Dropped,
    /// Its sample could not be kept.
    Unkept(crate::Error),
}

impl Bench<'_> {
    pub(super) fn waves(&self) -> Result<Ending> {
        let iterations = self.tti.plan.iterations.get();
        let size = self.concurrency().get();
        for (wave, first) in (0..iterations).step_by(size as usize).enumerate() {
            if self.interrupt.is_requested() {
                return Ok(Ending::Interrupted);
            }
            let last = (first + size).min(iterations);
            if let Some(ending) = self.wave(wave, first, last)? {
                return Ok(ending);
            }
        }
        Ok(Ending::Complete)
    }

    /// Launches machines `first..last`, waits for all, then destroys them. Gives an ending when it is the last wave.
    fn wave(&self, wave: usize, first: u32, last: u32) -> Result<Option<Ending>> {
        let gate = Gate::default();
        let abandoned = AtomicBool::new(false);
        let (slots, results) = mpsc::channel();
        let mut machines = Vec::new();
        let mut ending = None;
        let mut unkept = None;
        thread::scope(|scope| {
            for number in first..last {
                let name = format!("tti-{number}");
                let offset = self.offset(number - first);
                let slots = slots.clone();
                let (gate, abandoned) = (&gate, &abandoned);
                let spawned = thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                    let slot = self.slot(name, wave, offset, gate, abandoned);
                    // The receiver outlives all threads of this scope.
                    let _ = slots.send(slot);
                });
                if let Err(error) = spawned {
                    let slot = self.without_thread(number, wave, error);
                    machines.extend(self.settle(slot, abandoned, &mut ending, &mut unkept));
                }
            }
            drop(slots);
            gate.open();
            for (slot, machine) in results {
                machines.extend(machine);
                self.settle((slot, None), &abandoned, &mut ending, &mut unkept);
            }
        });
        for mut machine in machines {
            self.end(machine.as_mut());
        }
        match unkept {
            Some(error) => Err(error),
            None => Ok(ending),
        }
    }

    fn offset(&self, position: u32) -> Duration {
        match self.tti.plan.mode {
            Mode::Staggered => self.tti.plan.stagger * position,
            Mode::Burst | Mode::Sequential => Duration::ZERO,
        }
    }

    /// The whole life of one place in a wave, in its own thread.
    fn slot(
        &self,
        name: String,
        wave: usize,
        offset: Duration,
        gate: &Gate,
        abandoned: &AtomicBool,
    ) -> (Slot, Option<Box<dyn Machine>>) {
        let spec = self.spec(name);
        let launch = gate.wait() + offset;
        loop {
            let left = launch.saturating_duration_since(Instant::now());
            if abandoned.load(Ordering::Relaxed) || self.interrupt.is_requested() {
                return (Slot::Dropped, None);
            }
            if left.is_zero() {
                break;
            }
            self.interrupt.wait(left.min(LONGEST_SLEEP));
        }
        let iteration = self.iterate(&spec, BTreeMap::from([("wave".into(), wave.to_string())]));
        let Some(trial) = iteration.trial else { return (Slot::Dropped, iteration.machine) };
        let failed = trial.outcome.failure().is_some();
        let slot = self.record(trial);
        // What failed holds memory and perhaps a CPU that the others need.
        if failed && let Some(mut machine) = iteration.machine {
            self.end(machine.as_mut());
            return (slot, None);
        }
        (slot, iteration.machine)
    }

    fn record(&self, trial: Trial) -> Slot {
        let permanent = trial.permanent_failure();
        match self.recorder.record(METRIC, trial) {
            Ok(()) => Slot::Recorded { permanent },
            Err(error) => Slot::Unkept(error),
        }
    }

    /// The failure of a machine whose thread the host refused.
    fn without_thread(&self, number: u32, wave: usize, error: io::Error) -> (Slot, Option<Box<dyn Machine>>) {
        let labels =
            BTreeMap::from([("machine".into(), format!("tti-{number}")), ("wave".into(), wave.to_string())]);
        let action = format!("start a thread for machine tti-{number} (use a smaller --concurrency)");
        let trial =
            Trial::failure(Stopwatch::start(), labels, "launch", &Error::Io { action, source: error });
        (self.record(trial), None)
    }

    /// Notes what a slot means for the run.
    fn settle(
        &self,
        (slot, machine): (Slot, Option<Box<dyn Machine>>),
        abandoned: &AtomicBool,
        ending: &mut Option<Ending>,
        unkept: &mut Option<crate::Error>,
    ) -> Option<Box<dyn Machine>> {
        match slot {
            Slot::Dropped => {
                if self.interrupt.is_requested() {
                    *ending = Some(Ending::Interrupted);
                }
            }
            Slot::Recorded { permanent: Some((class, message)) } => {
                abandoned.store(true, Ordering::Relaxed);
                ending.get_or_insert(Ending::Stopped { class, message });
            }
            Slot::Recorded { permanent: None } => {}
            Slot::Unkept(error) => {
                abandoned.store(true, Ordering::Relaxed);
                unkept.get_or_insert(error);
            }
        }
        machine
    }
}

/// Holds all threads of a wave until every one of them is there.
#[derive(Default)]
struct Gate {
    opened: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Waits for the gate, and gives the moment it opened.
    fn wait(&self) -> Instant {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = *opened {
                return at;
            }
            opened = self.changed.wait(opened).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
