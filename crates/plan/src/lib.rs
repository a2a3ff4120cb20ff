//! Small plans of work, a graph of named nodes, and the executor that runs them for a sweep.
//!
//! A [`Plan`] is read from JSON and checked once; what is wrong with it is told with its place. An [`Executor`] runs
//! it for any number of callers at once. `docs/plan.md` describes the file, the operations and the scheduling.

mod batch;
mod bench;
mod builtin;
mod executor;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod names;
mod ops;
mod plan;
mod problem;
pub mod reels;
mod request;
mod resp;

pub use batch::{Batch, Column, MAX_ROWS, Scalar, Schema, Texts, Type};
pub use bench::{BenchOptions, BenchReport, Measured, bench};
pub use builtin::{builtin_names, text as builtin_text};
pub use executor::{DEFAULT_IO_THREADS, Executor, ExecutorOptions, Scheduler};
pub use failure::{CallError, FailureClass, NodeFailure};
pub use plan::Plan;
pub use problem::{Place, PlanError, Problem};
pub use request::{Parameter, Request, RequestError};
pub use resp::RedisOptions;
