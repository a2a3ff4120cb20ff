//! Throughput and latency at rising levels of load: where a service saturates.
//!
//! - [`SweepRun`]: drives the levels of a [`SweepPlan`], in machines of a known size, on the bare host, or against a
//!   service; [`excesses`] are the guard rails, [`Interrupted`] goes on with a sweep that was.
//! - [`Row`]: one run of one level, as [`csv`] and [`jsonl`] keep it; [`SweepFiles`] writes both after every run.
//! - [`Sweep`]: rows by level, with medians, ranges, failures and the knee; [`summary`] says it in words.
//!
//! Metrics, for each run: `throughput` (requests that succeeded per second, with the whole row in the label `row`),
//! `latency_p50`, `latency_p90`, `latency_p99`, `latency_max`, `error_ratio`, `peak_rss`; for each machine `boot`, taken
//! apart.

mod cap;
pub mod csv;
mod csv_text;
mod drive;
mod error;
mod files;
mod grouping;
pub mod jsonl;
mod level;
pub mod levels;
mod libraries;
mod limits;
mod live;
mod micros;
mod plan;
mod prose;
mod read_error;
pub mod redis;
mod report;
mod result;
mod resume;
mod row;
mod sandboxes;
mod schedule;
mod service;
mod site;
pub mod summary;

pub use drive::{Keep, SweepRun};
pub use error::Error;
pub use files::{FilesError, SweepFiles, read};
pub use levels::{Sweep, SweepError};
pub use libraries::Closure;
pub use limits::{Excess, MAX_CONCURRENCY, MAX_DURATION, MAX_TIMEOUT, MAX_WARMUP, excesses};
pub use plan::{Brought, Driven, Load, Location, PerRequest, SweepPlan};
pub use read_error::{Place, ReadError};
pub use report::{SweepReport, Time};
pub use result::METRIC;
pub use resume::Interrupted;
pub use row::Row;
pub use schedule::Step;
pub use service::ServiceSpec;
pub use site::{Outfit, Upload};

/// The name of the scenario.
pub const SCENARIO: &str = "sweep";
