//! Every child that is not reaped yet, for the moment when all of them must go at once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::child::Inner;

static CHILDREN: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// A child that runs, or has ended and is not reaped yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveChild {
    /// Name it was started under.
    pub name: String,
    /// Its pid, which is also the id of its process group.
    pub pid: i32,
}

/// Children of this process that were started and are not reaped, oldest first.
pub fn live_children() -> Vec<LiveChild> {
    let children = registered().into_iter().filter(|child| !child.is_reaped());
    children.map(|child| LiveChild { name: child.name.clone(), pid: child.pid.as_raw_pid() }).collect()
}

/// Sends SIGKILL to every child and its process group, and gives how many there were.
///
/// For a thread that is about to end the process; it neither waits for the children nor reaps them. Not for a
/// signal handler: it takes locks.
pub fn kill_all_children() -> usize {
    let children = registered();
    children.iter().filter(|child| child.kill_group()).count()
}

/// Sends SIGKILL to every child of this name and its process group, and gives how many there were. Neither waits for
/// them nor reaps them: that is for whoever started them.
pub fn kill_children_named(name: &str) -> usize {
    let children = registered();
    children.iter().filter(|child| child.name == name && child.kill_group()).count()
}

pub(super) fn register(child: &Arc<Inner>) {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.retain(|child| child.strong_count() > 0);
    children.push(Arc::downgrade(child));
}

/// The lock is not held while children are dealt with, as the last holder of one reaps it.
fn registered() -> Vec<Arc<Inner>> {
    let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.iter().filter_map(Weak::upgrade).collect()
}
