//! Restore: from the request to restore a snapshot until a machine answers that has what was in it.
//!
//! An untimed fixture makes the snapshot: a machine is created and started, a known change is made in its guest, a
//! snapshot is taken, and the machine destroyed. Then each iteration restores it (`restore_only`) and runs a command
//! that must see the change (`restore_tti`, from the same request to the command's output); the machine is destroyed
//! afterwards, untimed. Before that its memory is read, untimed too (`restored_pss_bytes`, `restored_private_bytes`).
//!
//! At last a few machines, one after the other, read a working set that the fixture put into guest memory:
//! `working_set_25_warm` is the time from the request to restore until a quarter of it was read, and so on; its phases
//! `touch_25`, `touch_50` and `touch_100` are the reading alone. `cold` is the same with the snapshot's content not in
//! the host's memory, where the platform can arrange that.

mod fixture;
mod iteration;
mod plan;
mod report;
mod working_set;

use std::path::PathBuf;

pub use plan::RestorePlan;
pub use report::{RestoreFailures, RestoreReport, WorkingSetFigures};
use virtmark_hypervisor::{Capability, Error, Hypervisor, Machine, MachineSpec, Observer, Snapshot};
use virtmark_model::Unit;

use crate::destroy::end;
use crate::kept::Kept;
use crate::pace::{Attempt, Drive, Launch, Measured, Task};
use crate::recorder::Recorder;
use crate::trial::Trial;
use crate::{Block, Blockwise, Context, Ending, Interrupt, Plan, Progress, Result};
use working_set::{Cache, WorkingSet};

/// The name of the scenario.
pub const SCENARIO: &str = "restore";
/// The metric of the restore alone.
pub const RESTORE_ONLY: &str = "restore_only";
/// The metric from the request to restore until a command's output is in hand.
pub const RESTORE_TTI: &str = "restore_tti";
/// The metric of a restored machine's memory, pages shared with others divided among them.
pub const PSS: &str = "restored_pss_bytes";
/// The metric of the memory that a restored machine has for itself.
pub const PRIVATE: &str = "restored_private_bytes";
/// Under which a machine's failure to be destroyed is kept; its success has no sample.
pub const DESTROY: &str = "restore_destroy";

/// A restore run: what to do, and the machine to do it with.
#[derive(Clone, Debug)]
pub struct Restore {
    /// What to do.
    pub plan: RestorePlan,
    /// The machine of the snapshot; restored ones are like it, under names of their own.
    pub machine: MachineSpec,
    /// Where the snapshot is kept; a directory that exists, with room for a machine's memory.
    pub scratch: PathBuf,
}

impl Blockwise for Restore {
    fn size(&self, hypervisor: &dyn Hypervisor) -> Plan {
        let usage = hypervisor.capabilities().has(Capability::ResourceUsage);
        let cool = hypervisor.capabilities().has(Capability::CoolSnapshot);
        let each = if usage { 4 } else { 2 };
        let caches = if cool { 2 } else { 1 };
        let sets = self.working_set().map_or(0, |_| u64::from(self.plan.working_set_iterations));
        Plan {
            warmups: self.plan.pace.warmup.into(),
            samples: u64::from(self.plan.pace.iterations.get()) * each
                + sets * caches * working_set::SHARES.len() as u64,
        }
    }

    /// Each block restores a snapshot of its own: all restores of one snapshot share what is peculiar to it, and that
    /// must not look like a difference between two configurations.
    fn measure(&self, block: Block, context: Context<'_>) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        let recorder = Recorder::new(sink, progress, started);
        let working_set = self.working_set();
        let skip = |metrics: [&str; 2], unit, reason: &str| match block.is_first() {
            true => metrics.into_iter().try_for_each(|metric| recorder.skip(metric, unit, reason.into())),
            false => Ok(()),
        };
        let absent = |capability| hypervisor.capabilities().reason_absent(capability);
        if let Some(reason) = absent(Capability::Restore).or_else(|| absent(Capability::Snapshot)) {
            skip([RESTORE_ONLY, RESTORE_TTI], Unit::Ns, reason)?;
            return Ok(Ending::Complete);
        }
        let mut kept = Kept::place(hypervisor, progress, self.scratch.join("restore-fixture"));
        let Some(made) = self.fixture(&mut kept, hypervisor, observer, progress, interrupt, working_set)
        else {
            return Ok(Ending::Interrupted);
        };
        let snapshot = match made {
            Ok(snapshot) => snapshot,
            Err(failed) => return failed.keep(&recorder),
        };
        if let Some(reason) = absent(Capability::ResourceUsage) {
            skip([PSS, PRIVATE], Unit::Bytes, reason)?;
        }
        let bench = Bench { restore: self, block, hypervisor, progress, observer, interrupt, snapshot };
        let pace = &self.plan.pace;
        let drive = Drive { task: &bench, pace, block, progress, interrupt, recorder: &recorder };
        match drive.run()? {
            Ending::Complete => bench.read_working_set(&recorder, working_set),
            ending => Ok(ending),
        }
    }
}

impl Restore {
    fn working_set(&self) -> Option<WorkingSet> {
        WorkingSet::fitting(self.plan.working_set_bytes, self.machine.memory_bytes)
    }
}

/// Everything that an iteration needs, shared by all threads.
struct Bench<'a> {
    restore: &'a Restore,
    block: Block,
    hypervisor: &'a dyn Hypervisor,
    progress: &'a dyn Progress,
    observer: Option<&'a dyn Observer>,
    interrupt: &'a dyn Interrupt,
    snapshot: &'a Snapshot,
}

impl Bench<'_> {
    fn spec(&self, name: String) -> MachineSpec {
        let ready_timeout = self.restore.plan.timeout;
        MachineSpec { name, ready_timeout, snapshots: false, ..self.restore.machine.clone() }
    }

    /// The reading of the working set with warm caches, and cold ones.
    fn read_working_set(&self, recorder: &Recorder<'_>, working_set: Option<WorkingSet>) -> Result<Ending> {
        let (Some(working_set), true) = (working_set, self.restore.plan.working_set_iterations > 0) else {
            return Ok(Ending::Complete);
        };
        for cache in Cache::ALL {
            let reason = self.hypervisor.capabilities().reason_absent(Capability::CoolSnapshot);
            if let (Cache::Cold, Some(reason)) = (cache, reason) {
                if self.block.is_first() {
                    for metric in cache.metrics() {
                        recorder.skip(metric, Unit::Ns, reason.into())?;
                    }
                }
                continue;
            }
            if let Some(ending) = self.read_cached(recorder, working_set, cache)? {
                return Ok(ending);
            }
        }
        Ok(Ending::Complete)
    }
}

impl Task for Bench<'_> {
    fn name(&self) -> &'static str {
        SCENARIO
    }

    fn metric(&self) -> &'static str {
        RESTORE_TTI
    }

    fn attempt(&self, launch: Launch) -> Attempt {
        self.iterate(launch)
    }

    fn end(&self, machine: &mut dyn Machine) -> Vec<Measured> {
        let launch = Launch::now(machine.name().into());
        match end(machine, self.observer, self.progress) {
            Ok(()) => Vec::new(),
            Err(error) => {
                let trial = Trial::failure(launch.watch, launch.labels, "destroy", &error);
                vec![Measured::time(DESTROY, trial)]
            }
        }
    }
}

/// A guest that answers, and does not have what was in the snapshot.
fn not_restored(machine: &str, request: &str, reason: String) -> Error {
    Error::AgentRefused { machine: machine.into(), request: request.into(), reason }
}
