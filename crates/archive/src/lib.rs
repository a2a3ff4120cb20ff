//! Where runs are kept: every sample, on disk before the next one starts.
//!
//! One SQLite file holds all runs of a user. [`Archive::begin`] hands out a [`RunWriter`], whose
//! [`record`](RunWriter::record) returns once the sample would survive a power cut. [`Archive::runs`],
//! [`Archive::run`] and [`Archive::samples`] read it all back, [`Archive::export`] writes a run out as JSON,
//! JSON lines, CSV or Markdown, and [`Archive::import`] takes the first two in again.
//!
//! Values are kept as IEEE 754 doubles: whole numbers are exact up to 2^53, which is 104 days in nanoseconds
//! and 8 PiB in bytes.

mod archive;
mod error;
mod export;
mod holder;
mod import;
mod location;
mod owner;
mod query;
mod row;
mod schema;
mod selector;
mod writer;

pub use archive::{Archive, OpenOptions};
pub use error::{Error, Result};
pub use export::{Exporter, Format, UnknownFormat};
pub use holder::Holder;
pub use import::ImportFormat;
pub use query::{RunFilter, RunState, SampleCounts, StoredRun};
pub use writer::RunWriter;
