//! Small plans of work, a graph of named nodes, and the executor that runs them for a sweep.

mod batch;
mod problem;

pub use batch::{Batch, Column, MAX_ROWS, Scalar, Schema, Texts, Type};
pub use problem::{Place, PlanError, Problem};
