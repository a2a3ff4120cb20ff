//! Throughput and latency at rising levels of load: where a service saturates.
//!
//! - [`Row`]: one run of one level, as [`csv`] and [`jsonl`] keep it.

pub mod csv;
mod csv_text;
pub mod jsonl;
mod micros;
mod read_error;
mod row;

pub use read_error::{Place, ReadError};
pub use row::Row;
