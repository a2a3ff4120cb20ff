//! Time to interactive: from the request to create a machine until the first command's output is in hand.
//!
//! Metric `tti`, in nanoseconds, with the phases `prepare`, `spawn`, `firmware_kernel`, `init`, `connect`, `exec` as
//! far as the platform has them. The machine is always destroyed afterwards, and that is never timed. The command's
//! exit status is a result, kept in the label `exit_code`: only what keeps the output from arriving is a failure.
//!
//! Concurrent modes work in waves of at most `concurrency` machines. A wave's machines stay until all of them are
//! ready or have failed, and are destroyed together, so that no destroy disturbs a launch or counts in the wall clock.

mod iteration;
mod plan;
mod report;
mod sequential;
mod waves;

use std::num::NonZeroU32;

pub use plan::{Mode, TtiPlan, UnknownMode};
pub use report::{Concurrent, PhaseFigures, RampPoint, TtiReport};
use virtmark_hypervisor::{Hypervisor, Machine, MachineSpec, Observer};

use crate::destroy::end;
use crate::recorder::Recorder;
use crate::{Context, Ending, Interrupt, Plan, Progress, Result};

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

impl Tti {
    /// Measures. Every sample is in the sink before its slot goes on, and no machine is left when this returns.
    ///
    /// # Errors
    /// When a sample cannot be kept.
    pub fn run(&self, context: Context<'_>) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        progress
            .begin(Plan { warmups: self.plan.warmup.into(), samples: u64::from(self.plan.iterations.get()) });
        let recorder = Recorder::new(sink, progress, started);
        let bench = Bench { tti: self, hypervisor, progress, observer, interrupt, recorder };
        if let Some(ending) = bench.warm_up()? {
            return Ok(ending);
        }
        match self.plan.mode {
            Mode::Sequential => bench.sequential(),
            Mode::Burst | Mode::Staggered => bench.waves(),
        }
    }
}

/// Everything that an iteration needs, shared by all threads.
struct Bench<'a> {
    tti: &'a Tti,
    hypervisor: &'a dyn Hypervisor,
    progress: &'a dyn Progress,
    observer: Option<&'a dyn Observer>,
    interrupt: &'a dyn Interrupt,
    recorder: Recorder<'a>,
}

impl Bench<'_> {
    fn spec(&self, name: String) -> MachineSpec {
        MachineSpec { name, ready_timeout: self.tti.plan.timeout, ..self.tti.machine.clone() }
    }

    /// The end of a machine, outside of its time.
    fn end(&self, machine: &mut dyn Machine) {
        end(machine, self.observer, self.progress);
    }

    fn concurrency(&self) -> NonZeroU32 {
        self.tti.plan.concurrency.min(self.tti.plan.iterations)
    }
}
