//! Live migration: how long a running machine takes to move, how long it stood still, and whether it is the same.
//!
//! For each size of memory and each load a machine is made, given its load and a witness, and moved once. The time it
//! stood still is seen from three sides: by the platform, by the witness in the guest, and by a client outside that asks
//! the guest's agent every millisecond. Machines are made new for each move, and what is not the move is not timed.

mod attempt;
mod grade;
mod load;
mod outside;
mod report;
mod sizes;
mod witness;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Capability, MachineSpec, Migration, MigrationChannel, MigrationMode};
use virtmark_model::Unit;

pub use grade::{Grade, Target};
pub use load::Load;
pub use report::{Cell, MigrateReport, Row, Values};
pub use sizes::{GUIDE_SIZES_MB, LeftOut, that_fit};

use self::attempt::Attempt;
use crate::recorder::Recorder;
use crate::{Context, Ending, Plan, Result};

/// The name of the scenario.
pub const SCENARIO: &str = "migrate";

/// Bytes of a MB of guest memory, as in the guide's sizes.
pub const MB_OF_MEMORY: u64 = 1 << 20;

/// A migration run: what to do, and the machine to do it with.
#[derive(Clone, Debug)]
pub struct Migrate {
    /// What to do.
    pub plan: MigratePlan,
    /// Every machine is made like this one, with a name and memory of its own.
    pub machine: MachineSpec,
}

/// What a migration run is asked to do, as it goes on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratePlan {
    /// Guest memory of the machines, in MB of 2^20 bytes.
    pub sizes_mb: Vec<u64>,
    /// Sizes that were not asked for by name and do not fit on this host.
    pub left_out: Vec<LeftOut>,
    /// What the guests do meanwhile.
    pub loads: Vec<Load>,
    /// Memory that the writer of a load goes over; a quarter of the guest's when absent.
    pub dirty_over_bytes: Option<u64>,
    /// How often each size is moved under each load.
    pub iterations: NonZeroU32,
    /// When memory is copied.
    pub mode: MigrationMode,
    /// What connects the two processes.
    pub channel: MigrationChannel,
    /// Most that is sent in a second; the platform's own when absent.
    pub max_bandwidth_bytes: Option<u64>,
    /// How long a guest may stand still; the platform's own when absent.
    pub downtime_limit_ms: Option<u64>,
    /// How long memory may be copied while the guest runs, in nanoseconds.
    pub timeout_ns: u64,
    /// How long the load runs before the machine moves, in nanoseconds.
    pub settle_ns: u64,
}

impl MigratePlan {
    fn migration(&self) -> Migration {
        Migration {
            mode: self.mode,
            channel: self.channel,
            max_bandwidth_bytes: self.max_bandwidth_bytes,
            downtime_limit_ms: self.downtime_limit_ms,
            timeout: Duration::from_nanos(self.timeout_ns),
        }
    }
}

impl Migrate {
    /// Measures. Every sample is in the sink before the next machine is made, and no machine is left when this returns. A
    /// size or load that fails for a lasting reason is not tried again; the others are.
    ///
    /// # Errors
    /// When a sample cannot be kept.
    pub fn run(&self, context: Context<'_>) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        let iterations = self.plan.iterations.get();
        let cells = self.plan.sizes_mb.len() * self.plan.loads.len();
        // The whole time, and the time without an answer.
        progress.begin(Plan { warmups: 0, samples: 2 * cells as u64 * u64::from(iterations) });
        let recorder = Recorder::new(sink, progress, started);
        for LeftOut { size_mb, reason } in &self.plan.left_out {
            recorder.skip(&metric("migration_duration", *size_mb, None), Unit::Ns, reason.clone())?;
        }
        if let Some(reason) = hypervisor.capabilities().reason_absent(Capability::Migrate) {
            for size_mb in &self.plan.sizes_mb {
                recorder.skip(&metric("migration_duration", *size_mb, None), Unit::Ns, reason.into())?;
            }
            return Ok(Ending::Complete);
        }
        for size_mb in &self.plan.sizes_mb {
            for load in &self.plan.loads {
                for iteration in 0..iterations {
                    if interrupt.is_requested() {
                        return Ok(Ending::Interrupted);
                    }
                    let attempt = Attempt {
                        plan: &self.plan,
                        template: &self.machine,
                        hypervisor,
                        progress,
                        observer,
                        interrupt,
                        size_mb: *size_mb,
                        load,
                        name: format!("migrate-{size_mb}-{}-{iteration}", load.name()),
                    };
                    let trial = attempt.run();
                    if trial.outcome.failure().is_some() && interrupt.is_requested() {
                        // What the user's stop caused is no failure.
                        return Ok(Ending::Interrupted);
                    }
                    let lasting = trial.permanent_failure();
                    let downtime = attempt.downtime_of(&trial);
                    recorder.record(&metric("migration_duration", *size_mb, Some(load)), trial)?;
                    if let Some(downtime) = downtime {
                        recorder.record(&metric("downtime_actual", *size_mb, Some(load)), downtime)?;
                    }
                    if lasting.is_some() {
                        break;
                    }
                }
            }
        }
        Ok(Ending::Complete)
    }
}

/// The name of a metric: figures of another size or load are another metric, and stand in no set with these.
fn metric(what: &str, size_mb: u64, load: Option<&Load>) -> String {
    let load = load.map(|load| format!("_{}", load.name())).unwrap_or_default();
    format!("{what}_{size_mb}mb{load}")
}
