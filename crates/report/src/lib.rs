//! What people look at: terminal tables, figures, self-contained HTML.
//!
//! - [`terminal`]: tables for a person at a terminal, written to standard error by the caller.
//! - [`html::report`]: one document about one or several runs that loads nothing from elsewhere.
//! - [`markdown::report`]: the same without pictures, as text.
//! - [`overview`]: what stands above the figures: a suite's steps, grades, ranks of platforms, overhead, migration.
//! - [`figure`]: distributions, values over time and waterfalls, as SVG and PNG.
//! - [`sweep`]: the pictures of a sweep.
//! - [`sections`]: what a scenario has to say beyond metrics, for terminal and HTML alike.
//! - [`mod@format`]: values with their units as people read them.
//!
//! Figures are computed here from raw samples by `virtmark-stats`; nothing is trimmed, failures are counted beside
//! successes, and software emulation is said wherever a figure is shown.

mod entry;
mod environment;
mod error;
pub mod figure;
#[cfg(test)]
#[path = "../tests/synthetic/mod.rs"]
mod fixtures;
pub mod format;
pub mod html;
pub mod markdown;

mod markup;
mod metric;
mod notes;
pub mod overview;
mod samples;
pub mod sections;
mod style;
pub mod sweep;
pub mod table;
pub mod terminal;

pub use error::ReportError;
pub use metric::{MedianSample, Metric};
pub use samples::{ExtraColumn, Overhead, RunSamples};
pub use style::{Style, Tone};
