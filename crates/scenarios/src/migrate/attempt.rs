//! One machine, made, loaded, moved once and looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Error, Hypervisor, Machine, MachineSpec, Migrated, Observer, Result};
use virtmark_model::{FailureClass, Outcome, Stopwatch};

use super::outside::{Heard, Outside};
use super::witness::{self, Told};
use super::{Load, MB_OF_MEMORY, MigratePlan};
use crate::destroy::end;
use crate::trial::Trial;
use crate::{Interrupt, Progress};

/// How long is looked at a guest that does not move, to compare with.
const STILL: Duration = Duration::from_millis(500);

/// How long the load may take to show that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The label of the time for which a client outside heard nothing.
pub(super) const OUTSIDE: &str = "downtime_outside_ns";

/// One machine that is to be moved once.
pub(super) struct Attempt<'a> {
    pub(super) plan: &'a MigratePlan,
    pub(super) template: &'a MachineSpec,
    pub(super) hypervisor: &'a dyn Hypervisor,
    pub(super) progress: &'a dyn Progress,
    pub(super) observer: Option<&'a dyn Observer>,
    pub(super) interrupt: &'a dyn Interrupt,
    pub(super) size_mb: u64,
    pub(super) load: &'a Load,
    pub(super) name: String,
}

/// Where an attempt failed, and why.
struct Failed {
    step: &'static str,
    watch: Stopwatch,
    error: Error,
}

/// What was found of a machine before it moved.
struct Before {
    fingerprint: String,
    still: Told,
    still_outside: Heard,
}

impl Attempt<'_> {
    /// Makes the machine and everything of it, and destroys it.
    pub(super) fn run(&self) -> Trial {
        let mut labels = self.labels();
        let failed = |step, error| Box::new(Failed { step, watch: Stopwatch::start(), error });
        let memory_bytes = self.size_mb * MB_OF_MEMORY;
        let spec = MachineSpec { name: self.name.clone(), memory_bytes, ..self.template.clone() };
        self.progress.live(&format!("{} MB, load {}: starting", self.size_mb, self.load));
        let mut machine = match self.hypervisor.create(&spec) {
            Ok((machine, _)) => machine,
            Err(error) => return Trial::failure(Stopwatch::start(), labels, "create", &error),
        };
        if let Some(observer) = self.observer {
            observer.created(machine.as_ref());
        }
        let started = machine.start().map_err(|error| failed("start", error));
        let result = started.and_then(|_| {
            if let Some(observer) = self.observer {
                observer.running(machine.as_ref());
            }
            self.moved(machine.as_mut(), &mut labels)
        });
        let trial = match result {
            Ok(watch) => Trial::success(watch, labels),
            Err(failed) => {
                let Failed { step, watch, error } = *failed;
                labels.insert("machine_afterwards".into(), machine.state().to_string());
                Trial::failure(watch, labels, step, &machine.explain(error))
            }
        };
        // Told, and no part of the attempt.
        let _ = end(machine.as_mut(), self.observer, self.progress);
        trial
    }

    fn moved(
        &self,
        machine: &mut dyn Machine,
        labels: &mut BTreeMap<String, String>,
    ) -> Result<Stopwatch, Box<Failed>> {
        let failed = |step, error| Box::new(Failed { step, watch: Stopwatch::start(), error });
        let before = self.before(machine).map_err(|error| failed("prepare the guest", error))?;
        note(labels, "guest_gap_still_ns", before.still.get("largest_gap_ns"));
        note(labels, "outside_gap_still_ns", Some(nanoseconds(before.still_outside.largest_gap)));
        let outside = machine.guest().and_then(|guest| {
            witness::reset(machine.name(), &*guest)?;
            Outside::start(guest).map_err(Error::io("start a thread that asks the guest"))
        });
        let outside = outside.map_err(|error| failed("prepare the guest", error))?;
        self.progress.live(&format!("{} MB, load {}: moving", self.size_mb, self.load));
        let mut watch = Stopwatch::start();
        let called = Instant::now();
        let migrated = machine.migrate(&self.plan.migration());
        let ended = Instant::now();
        let heard = outside.finish();
        let Migrated { timeline, answered_at, figures } = match migrated {
            Ok(migrated) => migrated,
            Err(error) => return Err(Box::new(Failed { step: "migrate", watch, error })),
        };
        watch.append_last(timeline, "migrate", called, ended);
        let silent = heard.last_at.map(|last| nanoseconds(answered_at.saturating_duration_since(last)));
        note(labels, OUTSIDE, silent);
        note(labels, "outside_answers", Some(heard.answers));
        note(labels, "downtime_hypervisor_ms", figures.downtime_ms);
        note(labels, "hypervisor_total_ms", figures.total_ms);
        note(labels, "transferred_bytes", figures.transferred_bytes);
        note(labels, "throughput_bytes_per_s", figures.throughput_bytes.map(|bytes| bytes as u64));
        note(labels, "dirty_rate_bytes_per_s", figures.dirty_rate_bytes);
        note(labels, "rounds", figures.rounds);
        note(labels, "normal_pages", figures.normal_pages);
        note(labels, "zero_pages", figures.zero_pages);
        note(labels, "max_bandwidth_bytes_per_s", figures.max_bandwidth_bytes);
        note(labels, "downtime_limit_ms", figures.downtime_limit_ms);
        let after = self.after(machine, &before, labels);
        match after {
            Ok(()) => Ok(watch),
            Err(error) => Err(Box::new(Failed { step: "find the same machine", watch, error })),
        }
    }

    /// Gives the guest its witness and its load, lets both run for a while, and looks at it as it stands.
    fn before(&self, machine: &dyn Machine) -> Result<Before> {
        let guest = machine.guest()?;
        let (name, memory_bytes) = (machine.name(), self.size_mb * MB_OF_MEMORY);
        let over_bytes = self.plan.dirty_over_bytes.unwrap_or(memory_bytes / 4);
        witness::start(name, &*guest, self.load, over_bytes)?;
        if let Some(line) = self.load.command(memory_bytes) {
            witness::run(name, &*guest, &line)?;
        }
        if self.interrupt.wait(Duration::from_nanos(self.plan.settle_ns)) {
            return Err(Error::Cancelled { machine: name.into(), request: "the migration".into() });
        }
        let fingerprint = witness::fingerprint(name, &*guest)?;
        witness::reset(name, &*guest)?;
        let outside =
            Outside::start(guest.clone()).map_err(Error::io("start a thread that asks the guest"))?;
        self.interrupt.wait(STILL);
        let still_outside = outside.finish();
        let still = witness::tell(name, &*guest)?;
        Ok(Before { fingerprint, still, still_outside })
    }

    /// Whether it is the same machine, and goes on with what it did.
    fn after(
        &self,
        machine: &dyn Machine,
        before: &Before,
        labels: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let guest = machine.guest()?;
        let name = machine.name();
        let told = witness::tell(name, &*guest)?;
        note(labels, "guest_gap_ns", told.get("largest_gap_ns"));
        note(labels, "guest_late_ticks", told.get("late_ticks"));
        note(labels, "ticker_cpu_ns", told.get("ticker_cpu_ns"));
        note(labels, "ticker_elapsed_ns", told.get("ticker_elapsed_ns"));
        note(labels, "written_bytes", told.get("written_bytes"));
        note(labels, "writer_elapsed_ns", told.get("writer_elapsed_ns"));
        let differs = |reason: String| Error::NotMigrated {
            machine: name.into(),
            class: FailureClass::Other,
            reason: format!("it arrived, and is not the same: {reason}"),
        };
        let found = witness::fingerprint(name, &*guest)?;
        if found != before.fingerprint {
            return Err(differs(format!("it was {:?} and is {found:?}", before.fingerprint)));
        }
        match self.load {
            Load::None => {}
            Load::Dirty { bytes_per_second } => {
                // What it wrote before it left is no sign of life here. It writes whole pages.
                let two_pages = Duration::from_secs_f64(8192.0 / *bytes_per_second as f64);
                let deadline = Instant::now() + SIGN_OF_LIFE + two_pages;
                while witness::tell(name, &*guest)?.get("written_bytes") <= told.get("written_bytes") {
                    if Instant::now() >= deadline {
                        return Err(differs("its writer stands still".into()));
                    }
                }
            }
            Load::Stress => {
                let line = "for dir in /proc/[0-9]*; do read -r name 2>/dev/null < $dir/comm && \
                            case $name in stress-ng*) echo $name;; esac; done; true";
                if witness::run(name, &*guest, line)?.is_empty() {
                    return Err(differs("stress-ng does not run any more".into()));
                }
            }
        }
        labels.insert("same_machine".into(), "true".into());
        Ok(())
    }

    /// The time for which a client outside of a machine that was moved heard nothing, as a value of its own.
    pub(super) fn downtime_of(&self, moved: &Trial) -> Option<Trial> {
        moved.outcome.value()?;
        let ns: f64 = moved.labels.get(OUTSIDE)?.parse().ok()?;
        Some(Trial {
            started: moved.started,
            outcome: Outcome::Success { value: ns },
            phases: Vec::new(),
            labels: self.labels(),
            is_passing: false,
        })
    }

    /// What it is an attempt of.
    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("machine".into(), self.name.clone()),
            ("memory_mb".into(), self.size_mb.to_string()),
            ("load".into(), self.load.to_string()),
            ("mode".into(), self.plan.mode.to_string()),
            ("channel".into(), self.plan.channel.to_string()),
        ])
    }
}

/// Keeps a figure where there is one.
fn note(labels: &mut BTreeMap<String, String>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        labels.insert(name.into(), value.to_string());
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
