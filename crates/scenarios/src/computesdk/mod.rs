//! The result files of the ComputeSDK sandbox benchmarks, written and read.
//!
//! Source of the format: the public repository `computesdk/benchmarks` (file version 1.1: its result types, its writer
//! of JSON files, its statistics and its scoring), and the result files published there. Times are milliseconds, rounded
//! to two decimals. A failed iteration has an `error`, and a `ttiMs` of 0 that is no time. A burst is called
//! `concurrent`. What the format has no word for stands in objects called `virtmark`, which its readers ignore.

mod file;
mod read;
mod score;
mod write;

use thiserror::Error;

pub use file::{ResultEntry, ResultFile};
pub use read::from_json;
pub use score::{Trimmed, composite_score};
pub use write::to_file;

/// The version of the files that are written.
pub const VERSION: &str = "1.1";

/// Why a run cannot be written as such a file, or a file not be read.
#[derive(Debug, Error)]
pub enum ComputeSdkError {
    /// A run of another scenario.
    #[error(
        "cannot write run {run} as a ComputeSDK result: it is of scenario {scenario:?}, and the format has only the \
         time to interactive of `virtmark tti`; choose another --format"
    )]
    Scenario {
        /// The run.
        run: String,
        /// Its scenario.
        scenario: String,
    },
    /// A stored value that is no number.
    #[error("cannot write run {run} as a ComputeSDK result: {source}")]
    Figures {
        /// The run.
        run: String,
        /// What is wrong with its samples.
        source: virtmark_stats::StatsError,
    },
    /// A file that is not of this format.
    #[error("cannot read the ComputeSDK result file: {reason}; export it again, or leave the entry out")]
    Damaged {
        /// What is wrong, with the place.
        reason: String,
    },
}
