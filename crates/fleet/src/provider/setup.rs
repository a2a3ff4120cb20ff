//! Setting up all machines, or none.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Cancel, Error};
use virtmark_model::FailureClass;

use super::replicas::{Member, Replicas};
use super::{Provider, Replica};
use crate::Limit;
use crate::map::Machine;

/// Which machines, and how.
#[derive(Clone, Debug)]
pub struct SetUpPlan {
    /// Their names, each fit for a [map](crate::map) and only once.
    pub names: Vec<String>,
    /// Machines that are set up at the same time.
    pub parallel: NonZeroUsize,
    /// When all of them must be ready; none for as long as it takes.
    pub time: Option<Duration>,
}

impl SetUpPlan {
    /// So many machines: `vm-0`, `vm-1`, …
    pub fn numbered(prefix: &str, count: usize, parallel: NonZeroUsize, time: Option<Duration>) -> Self {
        Self { names: (0..count).map(|at| format!("{prefix}-{at}")).collect(), parallel, time }
    }
}

/// Is told what happens, from several threads.
pub trait SetUpWatch: Sync {
    /// A machine is ready, after this time.
    fn ready(&self, machine: &Machine, time: Duration) {
        let _ = (machine, time);
    }
}

/// Nobody is told.
impl SetUpWatch for () {}

/// Why there are no machines. Whichever it is, those that were there are torn down.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The user stopped it.
    #[error("stopped while the machines were set up; those that were there are gone")]
    Interrupted,
    /// A machine could not be made, or failed.
    #[error("cannot set up {name}, and so none of {wanted} machines: {source}")]
    Machine {
        /// Which.
        name: String,
        /// How many there should have been.
        wanted: usize,
        /// What the platform said.
        source: Box<Error>,
    },
    /// They do not make a map: names or addresses are there twice.
    #[error("the machines that were set up make no map: {problem}")]
    Map {
        /// What is wrong with it.
        problem: String,
    },
    /// Not all machines were ready in time.
    #[error(
        "{ready} of {wanted} machines were ready within {waited:?}, and all are wanted; those are gone again. {name}: \
         {reason}; give them longer with --timeout, or set up fewer"
    )]
    NotReady {
        /// How many were.
        ready: usize,
        /// How many should have been.
        wanted: usize,
        /// How long was waited.
        waited: Duration,
        /// One that was not.
        name: String,
        /// What it was waited for, in one line.
        reason: String,
    },
}

/// Sets up all machines of the plan, in its order, or none: the first one that fails, the end of the time and `cancel`
/// end those that are being set up and tear down those that are ready.
pub fn set_up(
    provider: &dyn Provider,
    plan: &SetUpPlan,
    watch: &dyn SetUpWatch,
    cancel: &Cancel,
) -> Result<Replicas, SetUpError> {
    let started = Instant::now();
    let wanted = plan.names.len();
    // Given up by the user, or because one has failed.
    let given_up = Cancel::new();
    let same = given_up.clone();
    let _hearing = cancel.on_cancel(move || same.cancel());
    let limit = Limit::within(plan.time, &given_up);
    let next = AtomicUsize::new(0);
    let members: Mutex<Vec<Option<Member>>> = Mutex::new(plan.names.iter().map(|_| None).collect());
    let failure: Mutex<Option<(String, Error)>> = Mutex::default();
    let fail = |name: &str, error: Error| {
        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What fails once it is given up fails because of that.
        if !given_up.is_cancelled() {
            failure.get_or_insert((name.to_owned(), error));
        }
        drop(failure);
        given_up.cancel();
    };
    let one = |at: usize, name: &str| match provider.set_up(name, &limit) {
        Ok(replica) => {
            let ready = started.elapsed();
            watch.ready(replica.machine(), ready);
            members.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(Member { replica, ready });
        }
        Err(error) => fail(name, error),
    };
    let work = || {
        while let (false, at) = (given_up.is_cancelled(), next.fetch_add(1, Ordering::Relaxed)) {
            let Some(name) = plan.names.get(at) else { return };
            one(at, name);
        }
    };
    thread::scope(|scope| {
        // The calling thread is one of them, so that there is always one.
        for number in 1..plan.parallel.get().min(wanted) {
            let spawned = thread::Builder::new().name(format!("set-up {number}")).spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        work();
    });

    let members = members.into_inner().unwrap_or_else(PoisonError::into_inner);
    let members: Vec<Member> = members.into_iter().flatten().collect();
    let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    let ready = members.len();
    let problem = match failure {
        Some((name, error)) if is_late(&error, &limit) => SetUpError::NotReady {
            ready,
            wanted,
            waited: plan.time.unwrap_or_else(|| started.elapsed()),
            name,
            reason: first_line(&error),
        },
        Some((name, error)) => SetUpError::Machine { name, wanted, source: Box::new(error) },
        None if given_up.is_cancelled() || ready < wanted => SetUpError::Interrupted,
        None => match Replicas::new(members) {
            Ok(replicas) => return Ok(replicas),
            Err(problem) => return Err(SetUpError::Map { problem }),
        },
    };
    tear_down_all(members);
    Err(problem)
}

/// Tears down all at once; what could not be, by name.
pub(super) fn tear_down_all(members: Vec<Member>) -> Vec<(String, Error)> {
    let mut replicas: Vec<Box<dyn Replica>> = members.into_iter().map(|member| member.replica).collect();
    thread::scope(|scope| {
        let threads: Vec<_> = replicas
            .iter_mut()
            .map(|replica| {
                let name = replica.machine().name.clone();
                (name, scope.spawn(move || replica.tear_down()))
            })
            .collect();
        let ended = threads.into_iter().map(|(name, thread)| (name, thread.join()));
        // A panic was told by its thread, and the drop that follows tries again.
        ended.filter_map(|(name, result)| Some((name, result.ok()?.err()?))).collect()
    })
}

/// Whether a machine was not ready in time, or has failed otherwise.
fn is_late(error: &Error, limit: &Limit) -> bool {
    let silent = matches!(error.class(), FailureClass::GuestSilent | FailureClass::Timeout);
    silent || (limit.passed() && error.class() == FailureClass::Other)
}

/// Without the console that may follow.
fn first_line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_suffix("; its last output was:").unwrap_or(line);
    // What to do is said by the error that it becomes a part of.
    line.strip_suffix("; give it longer with --timeout").unwrap_or(line).to_owned()
}
