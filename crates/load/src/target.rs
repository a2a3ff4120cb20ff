//! What can be called, and how a call says how it went.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Something that is called, by any number of workers at once.
pub trait Target {
    /// Makes one of the workers, numbered from 0. It gets a thread of its own.
    ///
    /// # Errors
    /// When it cannot be made; nothing is measured then.
    fn worker(&self, index: usize) -> Result<Box<dyn Worker>, CallFailure>;
}

/// A caller, with what it keeps between two calls.
pub trait Worker: Send {
    /// Calls once, and returns when the answer is there. It should return soon after the limit's time has passed, with
    /// any failure: a call that does not is left behind with its thread.
    ///
    /// # Errors
    /// When the call has no result, or the wrong one.
    fn call(&mut self, limit: &Limit) -> Result<(), CallFailure>;
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallFailure {
    /// How it is counted: a short word such as `refused`. The set must be small.
    pub class: Cow<'static, str>,
    /// What was attempted, and why it failed. Kept for the first of each class.
    pub message: String,
}

/// How long a call may go on.
#[derive(Clone, Debug)]
pub struct Limit {
    pub(crate) until: Instant,
    pub(crate) cancel: Cancel,
}

/// Tells a run to stop with what it has. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl CallFailure {
    /// A failure of this class.
    pub fn new(class: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { class: class.into(), message: message.into() }
    }

    /// The failure of a call that was given up when its time had passed, of class `timeout`. When it was the time of
    /// the whole run, the call is counted as cut off instead.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new("timeout", message)
    }
}

impl Limit {
    /// Time that is left for this call: until its own limit or the end of the run, whichever is first. Zero when it is
    /// over, or the run was told to stop.
    pub fn left(&self) -> Duration {
        if self.cancel.is_cancelled() {
            return Duration::ZERO;
        }
        self.until.saturating_duration_since(Instant::now())
    }

    /// As [`Limit::left`], but at most so long that whoever waits sees soon that the run was told to stop.
    pub fn slice(&self) -> Duration {
        self.left().min(SLICE)
    }
}

/// How long nobody looks whether the run was told to stop.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

impl Cancel {
    /// Nobody has said anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// What is set when it was told: for signal handlers.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Whether it was told.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
