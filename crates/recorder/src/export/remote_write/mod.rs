//! Prometheus remote-write 1.0: the samples of a store, pushed once each.
//!
//! Format: <https://prometheus.io/docs/specs/remote_write_spec/>. What is pushed is the finest tier, slot by slot: the
//! slot's start as the time in milliseconds, and as the value the last sample of the slot, which is what
//! [`Function::Last`](virtmark_timeseries::Function::Last) answers, bit for bit. A narrow slot of a gauge does not
//! keep the last of several samples: there it is [`Function::Average`](virtmark_timeseries::Function::Average), for
//! one sample the same number.
//!
//! # Once each
//!
//! A cursor says how far the store has been pushed, and is saved after each batch that arrived. A batch that may have
//! arrived although nobody heard of it (the connection broke, or this program was killed before it saved the cursor) is
//! sent again. Prometheus takes an equal sample at the newest time of a series silently, and refuses earlier ones as
//! out of order. So, after such a doubt and only then, a batch that is refused for that is sent one time after
//! the other: those that are refused had arrived, and the last must be taken, else the refusal is an error. That rests
//! on a request being taken whole or not at all, which holds for Prometheus.

mod batch;
mod client;
mod error;
mod message;
mod options;
mod pusher;
mod retry;

pub use error::PushError;
pub use options::PushOptions;
pub use pusher::{PushTotals, Pusher};
