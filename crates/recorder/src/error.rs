//! What can go wrong with recording as a whole. What goes wrong with one machine or one series is a notice.

use std::io;
use std::time::Duration;

use virtmark_timeseries::KeyError;

use crate::SHORTEST_INTERVAL;

/// Why machines cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An interval below [`SHORTEST_INTERVAL`].
    #[error("cannot record every {found:?}: {SHORTEST_INTERVAL:?} is the shortest interval")]
    Interval {
        /// What was asked for.
        found: Duration,
    },
    /// A label of a machine cannot be.
    #[error("cannot record {machine}: {source}")]
    Label {
        /// The machine.
        machine: String,
        /// What is wrong with the label.
        source: KeyError,
    },
    /// The recording thread has ended, which only a fault of virtmark's can bring about.
    #[error("the recording thread has ended early; what it recorded by then is kept")]
    Stopped,
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] virtmark_timeseries::Error),
    /// The host refused a thread.
    #[error("cannot start the recording thread: {0}")]
    Thread(io::Error),
}
