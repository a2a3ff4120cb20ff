//! Why a push ended before everything was pushed.

use std::path::PathBuf;
use std::time::Duration;

/// Why a push ended. What had arrived by then is not pushed again by the next one.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// An address that cannot be pushed to.
    #[error("cannot push to {url:?}: {why}; name the receiver, for example http://HOST:9090/api/v1/write")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cursor was saved for another store.
    #[error(
        "cannot go on pushing {store}: the cursor {path} belongs to another store; name another file for the cursor, \
         or remove it to push from the oldest sample"
    )]
    CursorOfAnotherStore {
        /// Directory of the store.
        store: PathBuf,
        /// The cursor's file.
        path: PathBuf,
    },
    /// The receiver did not take a request for as long as was agreed.
    #[error(
        "gave up pushing {samples} samples to {url} after {tries} tries in {waited:.1?}: {last}; \
         push again when it works: it goes on where this ended"
    )]
    GaveUp {
        /// The receiver.
        url: String,
        /// Samples in the request.
        samples: usize,
        /// How often it was sent.
        tries: u32,
        /// For how long.
        waited: Duration,
        /// What came of the last try.
        last: String,
    },
    /// The program was asked to stop.
    #[error("the push to {url} was interrupted; push again: it goes on where this ended")]
    Interrupted {
        /// The receiver.
        url: String,
    },
    /// The receiver will not take a request, however often it is sent.
    #[error("{url} refused {samples} samples with status {status}: {line}; {}", advice(*status))]
    Refused {
        /// The receiver.
        url: String,
        /// Samples in the request.
        samples: usize,
        /// Its HTTP status.
        status: u16,
        /// First line of its answer.
        line: String,
    },
    /// Two series that the receiver cannot tell apart.
    #[error(
        "cannot push {store}: {one} and {other} are one series to Prometheus, where an empty label is no label; \
         record them under different labels"
    )]
    SameSeries {
        /// Directory of the store.
        store: PathBuf,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// Slots shorter than the milliseconds that remote-write counts in.
    #[error(
        "cannot push {store}: the finest tier of schema {schema:?} has slots of {step_ns} ns, and remote-write counts \
         milliseconds; record with slots of 1 ms or longer"
    )]
    StepTooShort {
        /// Directory of the store.
        store: PathBuf,
        /// The schema.
        schema: String,
        /// Length of its finest slots.
        step_ns: u64,
    },
    /// The store or the cursor could not be read or written.
    #[error(transparent)]
    Store(#[from] virtmark_timeseries::Error),
}

fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed: name the final address",
        400 => "it holds other or later samples of these series, or limits what it takes: its log says more",
        401 | 403 => "it wants to know who pushes: name a receiver that lets this host in",
        404 | 405 => {
            "is it a receiver? Prometheus is one at /api/v1/write, with --web.enable-remote-write-receiver"
        }
        _ => "the log of the receiver may say more",
    }
}
