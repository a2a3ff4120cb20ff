//! Benches: machines, and payloads that are run on them several times, as one file says. What is done is kept, and not
//! done again.

mod carry;
mod file;
mod state;

pub use carry::{StepReport, StepStatus, Work, carry_out};
pub use file::{
    AccelName, BenchFile, BenchFileError, HypervisorName, Machines, NetworkName, Payload, Seconds, Via,
};
pub use state::{Done, State, StateError, Step};
