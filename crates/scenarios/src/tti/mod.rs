//! Time to interactive: from the request to create a machine until the first command's output is in hand.
//!
//! Metric `tti`, in nanoseconds, with the phases `prepare`, `spawn`, `firmware_kernel`, `init`, `connect`, `exec` as
//! far as the platform has them. The machine is always destroyed afterwards, and that is never timed. The command's
//! exit status is a result, kept in the label `exit_code`: only what keeps the output from arriving is a failure.
//!
//! In open-loop mode the time counts from the intended launch, and begins with the phase `lag`.

mod iteration;
mod plan;
mod report;

pub use plan::TtiPlan;
pub use report::TtiReport;
use virtmark_hypervisor::{Hypervisor, Machine, MachineSpec, Observer};

use crate::destroy::end;
pub use crate::figures::PhaseFigures;
use crate::pace::{Attempt, Drive, Launch, Measured, Task};
pub use crate::pace::{Concurrent, Mode, OpenLoop, Pace, RampPoint, UnknownMode};
use crate::recorder::Recorder;
use crate::{Block, Blockwise, Context, Ending, Interrupt, Plan, Progress, Result};

/// The name of the scenario.
pub const SCENARIO: &str = "tti";
/// The name of its metric.
pub const METRIC: &str = "tti";

/// A TTI run: what to do, and the machine to do it with.
#[derive(Clone, Debug)]
pub struct Tti {
    /// What to do.
    pub plan: TtiPlan,
    /// Every machine is made like this one, under a name of its own.
    pub machine: MachineSpec,
}

impl Blockwise for Tti {
    fn size(&self, _: &dyn Hypervisor) -> Plan {
        let Pace { iterations, warmup, .. } = self.plan.pace;
        Plan { warmups: warmup.into(), samples: u64::from(iterations.get()) }
    }

    fn measure(&self, block: Block, context: Context<'_>) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        let recorder = Recorder::new(sink, progress, started);
        let bench = Bench { tti: self, hypervisor, progress, observer, interrupt };
        Drive { task: &bench, pace: &self.plan.pace, block, progress, interrupt, recorder: &recorder }.run()
    }
}

/// Everything that an iteration needs, shared by all threads.
struct Bench<'a> {
    tti: &'a Tti,
    hypervisor: &'a dyn Hypervisor,
    progress: &'a dyn Progress,
    observer: Option<&'a dyn Observer>,
    interrupt: &'a dyn Interrupt,
}

impl Task for Bench<'_> {
    fn name(&self) -> &'static str {
        SCENARIO
    }

    fn metric(&self) -> &'static str {
        METRIC
    }

    fn attempt(&self, launch: Launch) -> Attempt {
        self.iterate(launch)
    }

    fn end(&self, machine: &mut dyn Machine) -> Vec<Measured> {
        // A failure is told, and is none of the time's.
        let _ = end(machine, self.observer, self.progress);
        Vec::new()
    }
}
