//! Why something could not be shown.

use thiserror::Error;
use virtmark_stats::StatsError;

/// Why a run could not be shown.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A report was asked for without naming a run.
    #[error("cannot write a report about no runs: name at least one")]
    NoRuns,
    /// A figure cannot be drawn as pixels.
    #[error("cannot draw figure {title:?} as PNG, {width} pixels wide: {why}")]
    Png {
        /// The figure's title.
        title: String,
        /// The width asked for.
        width: u32,
        /// Why not, and what to do.
        why: String,
    },
    /// A sample cannot be given back in its recorded form.
    #[error("cannot write sample {seq} of run {run} as JSON")]
    Sample {
        /// The run.
        run: String,
        /// The sample's position in it.
        seq: u64,
        /// Why not.
        source: serde_json::Error,
    },
    /// The samples of a metric have no summary.
    #[error("cannot summarise metric {metric:?} of run {run}")]
    Summary {
        /// The run.
        run: String,
        /// The metric.
        metric: String,
        /// Why not.
        source: StatsError,
    },
}
