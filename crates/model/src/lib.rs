//! What a measurement is: samples, runs, environments, outcomes, and the words they are told in.
//!
//! No I/O and no arithmetic on samples: this crate is the vocabulary that the archive stores, the
//! scenarios fill and the reports read. Every type is plain data with a stable serde form.

mod environment;
mod machine;
mod outcome;
mod run;
mod sample;
mod timeline;

pub use environment::{
    Accelerator, CgroupLimits, EMULATED_HOST, Environment, HarnessCost, HostFacts, HypervisorFacts,
    ImageFacts, ProgramFacts,
};
pub use machine::{DiskCache, GuestClockSource, MachineFacts, Topology};
pub use outcome::{FailureClass, Outcome, UnknownFailureClass};
pub use run::{InvalidRunId, Run, RunId, RunStatus};
pub use sample::{Sample, Unit, UnknownUnit};
pub use timeline::{Phase, Stopwatch, Timeline};
