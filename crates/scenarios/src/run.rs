//! The shape all scenarios share: what they are given, and how they end.

use std::time::{Duration, Instant};

use thiserror::Error;
use virtmark_archive::RunWriter;
use virtmark_hypervisor::{Hypervisor, Observer};
use virtmark_model::{FailureClass, Sample};

/// The result of a scenario's step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a scenario is given.
pub struct Context<'a> {
    /// The platform it drives.
    pub hypervisor: &'a dyn Hypervisor,
    /// Where samples go.
    pub sink: &'a mut dyn Sink,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
    /// Who watches the machines while they live, if anybody does.
    pub observer: Option<&'a dyn Observer>,
    /// Whether the user wants it to stop.
    pub interrupt: &'a dyn Interrupt,
    /// The start of the run, from which samples count their `started_ns`.
    pub started: Instant,
}

/// Where samples go. A sample is safe when [`record`](Self::record) returns.
pub trait Sink: Send {
    /// Keeps one sample.
    ///
    /// # Errors
    /// Those of the archive; the sample is then not kept, and those before it are.
    fn record(&mut self, sample: &Sample) -> virtmark_archive::Result<()>;
}

impl Sink for RunWriter {
    fn record(&mut self, sample: &Sample) -> virtmark_archive::Result<()> {
        RunWriter::record(self, sample)
    }
}

/// In memory, for callers that keep nothing on disk.
impl Sink for Vec<Sample> {
    fn record(&mut self, sample: &Sample) -> virtmark_archive::Result<()> {
        self.push(sample.clone());
        Ok(())
    }
}

/// Who is told how far a scenario is. Called between measurements, and from several threads in concurrent modes.
pub trait Progress: Sync {
    /// Before the first warm-up.
    fn begin(&self, plan: Plan);
    /// After each warm-up.
    fn warmed_up(&self);
    /// After each sample, once it is safe.
    fn recorded(&self, sample: &Sample);
    /// What is going on at this moment, in a few words that replace those before; for measurements that take seconds.
    fn live(&self, words: &str) {
        let _ = words;
    }
    /// Something that is no failure of a measurement, and that the user should know.
    fn warn(&self, message: &str);
}

/// How much a scenario is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Warm-ups, which are not recorded.
    pub warmups: u64,
    /// Samples, when nothing fails.
    pub samples: u64,
}

/// Whether the user wants a run to stop.
pub trait Interrupt: Sync {
    /// Whether a stop was asked for.
    fn is_requested(&self) -> bool;

    /// Sleeps for `timeout`, or until a stop is asked for, and says whether it was.
    fn wait(&self, timeout: Duration) -> bool;
}

/// How a scenario ended. In every case all samples measured by then are in the sink, and no machine is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything that was asked for was attempted.
    Complete,
    /// The user ended it early.
    Interrupted,
    /// A failure that the next attempt could not but repeat ended it early; it is in the samples too.
    Stopped {
        /// Its class.
        class: FailureClass,
        /// What was attempted, on what, why it failed and what to do.
        message: String,
    },
}

/// Why a scenario could not go on. Failures of machines are samples, not errors.
#[derive(Debug, Error)]
pub enum Error {
    /// A sample could not be kept.
    #[error("cannot keep a sample of the run, which ends here")]
    Record(#[from] virtmark_archive::Error),
}

/// Whether a failure of this class has a cause that does not go away by trying again.
pub fn is_permanent(class: FailureClass) -> bool {
    use FailureClass::*;
    match class {
        AcceleratorUnavailable
        | DiskFull
        | HypervisorMissing
        | ImageDamaged
        | KernelInvalid
        | OutOfMemory
        | PathTooLong
        | PermissionDenied
        | Unsupported => true,
        AgentLost | GuestPanic | GuestSilent | Interrupted | Other | Timeout | VmmExited => false,
    }
}
