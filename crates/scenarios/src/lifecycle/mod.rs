//! Lifecycle operations: create, start, snapshot, restore, stop, destroy, each timed by itself.
//!
//! An iteration takes one machine through all of them. A restore makes a second machine from the snapshot; once that
//! has answered a command it is destroyed, and the snapshot removed, both untimed. What the platform cannot do is one
//! skipped sample with the reason.

mod cycle;
mod grade;
mod operation;
mod report;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

pub use grade::Grade;
pub use operation::Operation;
pub(crate) use report::csv_hypervisor;
pub use report::{LifecycleReport, OperationFigures};
use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Hypervisor, MachineSpec};
use virtmark_model::Unit;

use crate::recorder::Recorder;
use crate::{Block, Blockwise, Context, Ending, Plan, Result};
use cycle::Cycle;

/// The name of the scenario.
pub const SCENARIO: &str = "lifecycle";

/// A lifecycle run: what to do, and the machine to do it with.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// What to do.
    pub plan: LifecyclePlan,
    /// Every machine is made like this one, under a name of its own, and able to be snapshotted.
    pub machine: MachineSpec,
    /// Where snapshots are kept while they are needed; a directory that exists, with room for a machine's memory.
    pub scratch: PathBuf,
    /// How long a guest may take to stop by itself before it is forced.
    pub stop_deadline: Duration,
}

/// What a lifecycle run is asked to do, as it goes on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecyclePlan {
    /// How often each operation is measured.
    pub iterations: NonZeroU32,
    /// Machines before them that are taken through everything and not recorded.
    pub warmup: u32,
}

impl Blockwise for Lifecycle {
    fn size(&self, hypervisor: &dyn Hypervisor) -> Plan {
        let possible = Operation::ALL.iter().filter(|operation| operation.is_possible(hypervisor)).count();
        Plan {
            warmups: self.plan.warmup.into(),
            samples: u64::from(self.plan.iterations.get()) * possible as u64,
        }
    }

    fn measure(&self, block: Block, context: Context<'_>) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        let recorder = Recorder::new(sink, progress, started);
        let cycle = |name: String, warmup| {
            let recorder = &recorder;
            Cycle { lifecycle: self, hypervisor, progress, observer, interrupt, recorder, warmup, name }.run()
        };
        if block.is_first() {
            for number in 0..self.plan.warmup {
                if let Some(ending) = cycle(format!("warmup-{number}"), true)? {
                    return Ok(ending);
                }
                progress.warmed_up();
            }
            for operation in Operation::ALL {
                if let Some(reason) = operation.reason_impossible(hypervisor) {
                    recorder.skip(operation.metric(), Unit::Ns, reason.into())?;
                }
            }
        }
        for number in block.share(self.plan.iterations.get()) {
            if let Some(ending) = cycle(format!("lifecycle-{number}"), false)? {
                return Ok(ending);
            }
        }
        Ok(Ending::Complete)
    }
}
