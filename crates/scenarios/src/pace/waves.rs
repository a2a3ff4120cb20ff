//! Several machines at once: burst and staggered.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Error, Machine};
use virtmark_model::Stopwatch;

use super::Mode;
use super::drive::{Drive, Launch, Slot, Tally, Task, sleep_until};
use crate::{Ending, Result};

impl<T: Task> Drive<'_, T> {
    pub(super) fn waves(&self) -> Result<Ending> {
        let iterations = self.pace.iterations.get();
        let size = self.pace.width().get();
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
        let mut tally = Tally::default();
        let mut note = |slot| {
            if tally.note(slot, self.interrupt) {
                abandoned.store(true, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            for number in first..last {
                let name = self.machine_name(number);
                let offset = self.offset(number - first);
                let slots = slots.clone();
                let (gate, abandoned) = (&gate, &abandoned);
                let spawned = thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
                    let slot = self.slot(name, wave, offset, gate, abandoned);
                    // The receiver outlives all threads of this scope.
                    let _ = slots.send(slot);
                });
                if let Err(error) = spawned {
                    note(self.without_thread(number, wave, error));
                }
            }
            drop(slots);
            gate.open();
            for (slot, machine) in results {
                machines.extend(machine);
                note(slot);
            }
        });
        for mut machine in machines {
            note(Slot::from(self.end(machine.as_mut()).map(|()| None)));
        }
        tally.finish()
    }

    fn offset(&self, position: u32) -> Duration {
        match self.pace.mode {
            Mode::Staggered => self.pace.stagger * position,
            Mode::Burst | Mode::OpenLoop | Mode::Sequential => Duration::ZERO,
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
        let launch = gate.wait() + offset;
        if !sleep_until(launch, self.interrupt, || !abandoned.load(Ordering::Relaxed)) {
            return (Slot::Dropped, None);
        }
        let attempt = self.task.attempt(in_wave(name, wave));
        let Some(samples) = attempt.samples else { return (Slot::Dropped, attempt.machine) };
        let failed = samples.iter().any(|sample| sample.failed());
        let slot = Slot::from(self.keep(samples));
        // What failed holds memory and perhaps a CPU that the others need.
        if failed && let Some(mut machine) = attempt.machine {
            let ended = self.end(machine.as_mut());
            return (if let Err(error) = ended { Slot::Unkept(error) } else { slot }, None);
        }
        (slot, attempt.machine)
    }

    /// The failure of a machine whose thread the host refused.
    fn without_thread(&self, number: u32, wave: usize, error: io::Error) -> Slot {
        let name = self.machine_name(number);
        let action = format!("start a thread for machine {name} (use a smaller --concurrency)");
        let error = Error::Io { action, source: error };
        Slot::from(self.keep(vec![in_wave(name, wave).refused(self.task.metric(), &error)]))
    }
}

fn in_wave(name: String, wave: usize) -> Launch {
    Launch::labelled(name, Stopwatch::start(), [("wave".into(), wave.to_string())])
}

/// Holds all threads until every one of them is there.
#[derive(Default)]
pub(super) struct Gate {
    opened: Mutex<Option<Instant>>,
    changed: Condvar,
}

impl Gate {
    /// Opens it; a gate that is open stays as it is.
    pub(super) fn open(&self) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get_or_insert_with(Instant::now);
        self.changed.notify_all();
    }

    /// Waits for the gate, and gives the moment it opened.
    pub(super) fn wait(&self) -> Instant {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = *opened {
                return at;
            }
            opened = self.changed.wait(opened).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
