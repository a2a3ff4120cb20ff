//! What a short life leaves behind: machines that run a workload of known course and known length, and how much of it
//! each source of monitoring data has kept.
//!
//! Metrics, one sample each for every life: `life` (nanoseconds, taken apart into the phases of the workload), and for
//! every source, told apart by the label `source`: `points_expected`, `points_stored`, `capture_rate` and
//! `phases_told_apart`.

mod coverage;
mod life;
mod report;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Capability, MachineSpec};

pub use coverage::{Coverage, Evidence, Span};
pub use report::{CaptureReport, Row, SourceRow};
use virtmark_model::Unit;

use crate::recorder::Recorder;
use crate::{Context, Ending, Plan, Result};

/// The name of the scenario.
pub const SCENARIO: &str = "capture";
/// The phases of the workload, in order, as it names them when they start.
pub const WORKLOAD_PHASES: [&str; 4] = ["cpu_burst", "idle", "io", "mixed"];

/// A capture run: what to do, and the machine to do it with.
#[derive(Clone, Debug)]
pub struct Capture {
    /// What to do.
    pub plan: CapturePlan,
    /// Every machine is made like this one, under a name of its own.
    pub machine: MachineSpec,
    /// The script that a guest runs: it takes its length from the kernel command line and names its phases.
    pub workload: &'static str,
}

/// What a capture run is asked to do, as it goes on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePlan {
    /// Lengths of the workload in seconds, one life each.
    pub durations_s: Vec<NonZeroU32>,
    /// How often all of them are lived through.
    pub repeat: NonZeroU32,
    /// How long a guest may take to answer, and its workload beyond its length.
    pub timeout_s: u32,
}

/// Something that was collecting points while the machines lived.
pub trait Source {
    /// Its name: `recorder`, `prometheus`.
    fn name(&self) -> &str;

    /// Between two points.
    fn interval(&self) -> Duration;

    /// Everything it has of a machine between two moments of the wall clock; why not, in one line.
    fn evidence(&mut self, machine: &str, span: Span) -> Result<Evidence, String>;
}

impl Capture {
    /// Lives through everything, and asks each source after each life.
    ///
    /// # Errors
    /// When a sample cannot be kept.
    pub fn run(&self, context: Context<'_>, sources: &mut [Box<dyn Source + '_>]) -> Result<Ending> {
        let Context { hypervisor, sink, progress, observer, interrupt, started } = context;
        let lives = u64::from(self.plan.repeat.get()) * self.plan.durations_s.len() as u64;
        progress.begin(Plan { warmups: 0, samples: lives * (1 + 4 * sources.len() as u64) });
        let recorder = Recorder::new(sink, progress, started);
        // The workload's length comes from the kernel command line.
        if let Some(reason) = hypervisor.capabilities().reason_absent(Capability::KernelBoot) {
            recorder.skip("life", Unit::Ns, reason.into())?;
            return Ok(Ending::Complete);
        }
        for repeat in 0..self.plan.repeat.get() {
            for duration_s in &self.plan.durations_s {
                if interrupt.is_requested() {
                    return Ok(Ending::Interrupted);
                }
                let life = self.live(hypervisor, observer, progress, duration_s.get(), repeat);
                if interrupt.is_requested() {
                    return Ok(Ending::Interrupted);
                }
                let permanent = life.trial.permanent_failure();
                let labels = life.trial.labels.clone();
                recorder.record("life", life.trial)?;
                if let Some((class, message)) = permanent {
                    return Ok(Ending::Stopped { class, message });
                }
                if let Some(course) = life.course {
                    for source in sources.iter_mut() {
                        coverage::record(&recorder, source.as_mut(), &course, &labels)?;
                    }
                }
            }
        }
        Ok(Ending::Complete)
    }
}
