//! An embedded round-robin time-series store of fixed size, in memory-mapped files.
//!
//! A store is a directory whose size is decided when it is created. Series, a name with labels, are registered once
//! and recorded through a handle, in a few nanoseconds; several tiers keep sum, count, min, max, first and last of
//! shorter and longer stretches of time. The format, the promises and every failure are in `docs/timeseries.md`.
//!
//! ```
//! use virtmark_timeseries::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("store");
//! let options = StoreOptions::new(vec![Schema::new("machine", 30)])?;
//! assert!(options.size_bytes() < 10_000_000);
//! let mut writer = Writer::create(&path, &options)?;
//! let exits = writer.register(&SeriesKey::new("exits_total")?.with("reason", "io")?, Kind::Counter)?;
//!
//! let mut recorder = writer.recorder()?;
//! for second in 1_700_000_000..1_700_000_045 {
//!     recorder.publish(second * 1_000_000_000)?;
//!     recorder.record(exits, (second - 1_699_999_999) as f64);
//!     writer.consolidate();
//! }
//!
//! let reader = Reader::open(&path)?;
//! let entry = reader.select(&"exits_total{reason=io}".parse()?)?[0];
//! let query = Query { range: Range::All, tier: TierChoice::Auto, function: Function::Rate };
//! let answer = reader.query(entry, &query)?;
//! assert_eq!(answer.points.len(), 44);
//! assert!(answer.points.iter().all(|point| point.value == 1.0));
//! # Ok(())
//! # }
//! ```

mod bytes;
mod catalog;
mod commit;
mod consolidate;
mod drain;
mod error;
mod files;
mod header;
mod key;
mod lane;
mod layout;
mod map;
mod mapping;
mod near;
mod options;
mod query;
mod reader;
mod recorder;
mod selector;
mod slot;
mod summary;
mod sync;
mod writer;

pub use catalog::SeriesEntry;
pub use consolidate::Consolidated;
pub use drain::{Batch, Cursor, CursorFile, Drained};
pub use error::{Error, QueryError, Rejected};
pub use header::FORMAT_VERSION;
pub use key::{KeyError, MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, SeriesKey};
pub use lane::RejectedCounts;
pub use layout::Series;
pub use options::{
    MAX_LANES, MAX_SCHEMAS, MAX_TIERS, OptionsError, Schema, StoreOptions, TIME_LIMIT_NS, Tier,
};
pub use query::{Point, Points, Query, Range, Summaries, TierChoice};
pub use reader::{Reader, SchemaInfo, StoreInfo, TierInfo};
pub use recorder::Recorder;
pub use selector::{Selector, SelectorError};
pub use summary::{Function, Kind, Summary, UnknownFunction, Width};
pub use writer::Writer;
