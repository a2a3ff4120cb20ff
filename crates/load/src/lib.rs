//! The load generator: calls a target for a time by the clock and keeps every latency.
//!
//! A [`Job`] says what is called and how often; [`run`] does it and gives an [`Outcome`]. [`run_target`] drives any
//! other [`Target`] in the same way. The program `virtmark-load` reads a job and writes [`Event`]s, for places where
//! this library cannot be called: inside a guest. `docs/load.md` describes the formats and what is counted.

mod command;
mod event;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod job;
mod lane;
mod latencies;
mod outcome;
mod plan;
mod run;
mod tally;
mod target;
mod usage;
mod window;

pub use event::{Event, Phase, Progress};
pub use http::response::{Malformed, Response, ResponseReader};
pub use job::{Arrivals, CommandSpec, HttpSpec, HttpVersion, Job, JobError, PlanSpec, TargetSpec};
pub use latencies::Latencies;
pub use outcome::{Ended, ErrorCount, OpenFigures, Outcome, Usage, Warmup};
pub use run::{Load, RunError, run, run_target};
pub use target::{CallFailure, Cancel, Limit, Target, Worker};
