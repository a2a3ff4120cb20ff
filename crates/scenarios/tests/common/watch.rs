//! Those who are told how a scenario goes, and remember it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use virtmark_hypervisor::{Machine, MachineState, Observer};
use virtmark_model::Sample;
use virtmark_scenarios::{Interrupt, Plan, Progress};

/// Remembers what it is told; asks for a stop after so many samples.
pub struct Watcher {
    pub plan: Mutex<Option<Plan>>,
    pub warmups: AtomicU32,
    pub recorded: AtomicU32,
    pub warnings: Mutex<Vec<String>>,
    stop_after: u32,
    stop: AtomicBool,
}

impl Watcher {
    pub fn new() -> Self {
        Self::stopping_after(u32::MAX)
    }

    pub fn stopping_after(samples: u32) -> Self {
        Self {
            plan: Mutex::default(),
            warmups: AtomicU32::new(0),
            recorded: AtomicU32::new(0),
            warnings: Mutex::default(),
            stop_after: samples,
            stop: AtomicBool::new(samples == 0),
        }
    }
}

impl Progress for Watcher {
    fn begin(&self, plan: Plan) {
        *self.plan.lock().unwrap() = Some(plan);
    }

    fn warmed_up(&self) {
        self.warmups.fetch_add(1, Ordering::SeqCst);
    }

    fn recorded(&self, _: &Sample) {
        if self.recorded.fetch_add(1, Ordering::SeqCst) + 1 >= self.stop_after {
            self.stop.store(true, Ordering::SeqCst);
        }
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.into());
    }
}

impl Interrupt for Watcher {
    fn is_requested(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn wait(&self, timeout: Duration) -> bool {
        std::thread::sleep(timeout);
        self.is_requested()
    }
}

/// Notes what it is told of machines, and whether they were there.
#[derive(Default)]
pub struct Noting(pub Mutex<Vec<(String, &'static str, MachineState)>>);

impl Noting {
    fn note(&self, machine: &dyn Machine, what: &'static str) {
        self.0.lock().unwrap().push((machine.name().into(), what, machine.state()));
    }

    /// What was told of one machine.
    pub fn of(&self, name: &str) -> Vec<(&'static str, MachineState)> {
        let notes = self.0.lock().unwrap();
        notes.iter().filter(|(of, _, _)| of == name).map(|(_, what, state)| (*what, *state)).collect()
    }
}

impl Observer for Noting {
    fn created(&self, machine: &dyn Machine) {
        self.note(machine, "created");
    }

    fn running(&self, machine: &dyn Machine) {
        self.note(machine, "running");
    }

    fn ending(&self, machine: &dyn Machine) {
        self.note(machine, "ending");
    }
}
