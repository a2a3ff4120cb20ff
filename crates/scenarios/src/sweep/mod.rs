//! Throughput and latency at rising levels of load: where a service saturates.
//!
//! - [`Row`]: one run of one level, as [`csv`] and [`jsonl`] keep it; [`SweepFiles`] writes both after every run.
//! - [`Sweep`]: rows by level, with medians, ranges, failures and the knee; [`summary`] says it in words.

pub mod csv;
mod csv_text;
mod files;
pub mod jsonl;
pub mod levels;
mod micros;
mod read_error;
mod row;
pub mod summary;

pub use files::{FilesError, SweepFiles, read};
pub use levels::{Sweep, SweepError};
pub use read_error::{Place, ReadError};
pub use row::Row;
