//! Tables that the command line prints for people.
//!
//! They know metrics, phases and runs, not scenarios: a new scenario brings its samples and, if it has judgements of
//! its own, an [`ExtraColumn`](crate::ExtraColumn).

mod lists;
mod summary;

pub use lists::{Check, CheckStatus, RunRow, checks, environment_table, runs_list};
pub use summary::run_summary;
