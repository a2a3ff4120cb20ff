//! Where blocking calls run: threads for a limited number of them, and a refusal instead of a queue for the rest.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use virtmark_hypervisor::Cancel;

use super::refusal::Refusal;

/// Calls at a time that free something or look something up.
const CONTROL_CALLS: usize = 64;
/// Calls at a time that tell how the service is.
const VITAL_CALLS: usize = 8;
/// Threads for what nobody waits for.
const SPARE_THREADS: usize = 16;

/// How long a call may take and how much it matters, which decides what it competes with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// Frees something or looks something up: must work while every place for work is taken.
    Control,
    /// Tells how the service is.
    Vital,
    /// Boots machines, runs commands, moves files.
    Work,
}

/// The places for blocking calls.
pub(super) struct Pool {
    control: Arc<Semaphore>,
    vital: Arc<Semaphore>,
    work: Arc<Semaphore>,
    work_calls: usize,
}

impl Pool {
    pub(super) fn new(work_calls: usize) -> Self {
        let places = |calls| Arc::new(Semaphore::new(calls));
        Self {
            control: places(CONTROL_CALLS),
            vital: places(VITAL_CALLS),
            work: places(work_calls),
            work_calls,
        }
    }

    /// How many threads the runtime needs, so that no call with a place ever waits for one.
    pub(super) fn threads(work_calls: usize) -> usize {
        work_calls + CONTROL_CALLS + VITAL_CALLS + SPARE_THREADS
    }

    /// Runs a call to its end. It runs on when nobody waits for its outcome any more, which is then dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        what: &'static str,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        finished(self.start(lane, call)?, what).await
    }

    /// Starts a call. Its place is free again when it has ended.
    pub(super) fn start<T: Send + 'static>(
        &self,
        lane: Lane,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Refusal> {
        let place = self.place(lane)?;
        Ok(tokio::task::spawn_blocking(move || {
            let outcome = call();
            drop(place);
            outcome
        }))
    }

    fn place(&self, lane: Lane) -> Result<OwnedSemaphorePermit, Refusal> {
        let (places, limit) = match lane {
            Lane::Control => (&self.control, CONTROL_CALLS),
            Lane::Vital => (&self.vital, VITAL_CALLS),
            Lane::Work => (&self.work, self.work_calls),
        };
        places.clone().try_acquire_owned().map_err(|_| Refusal::Overloaded { what: "requests", limit })
    }
}

/// The outcome of a call, or the news that it panicked.
pub(super) async fn finished<T>(call: JoinHandle<T>, what: &'static str) -> Result<T, Refusal> {
    call.await.map_err(|_| Refusal::Internal(what.into()))
}

/// A client that waits for a command. When this is dropped the command is given up, which means nothing to one that has
/// ended.
pub(super) struct Waiting(pub(super) Cancel);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Something that is undone unless somebody claims it: a sandbox whose id could not be delivered. It is undone on a
/// thread for blocking calls, wherever it is dropped.
pub(super) struct Unclaimed {
    runtime: Handle,
    undo: Option<Box<dyn FnOnce() + Send>>,
}

impl Unclaimed {
    pub(super) fn new(runtime: Handle, undo: impl FnOnce() + Send + 'static) -> Self {
        Self { runtime, undo: Some(Box::new(undo)) }
    }

    /// It stays.
    pub(super) fn claim(mut self) {
        self.undo = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            self.runtime.spawn_blocking(undo);
        }
    }
}
