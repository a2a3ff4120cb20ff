//! One sandbox: what it is, what it holds, what it is doing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use virtmark_hypervisor::{Cancel, GuestLink, Machine};

use crate::admission::Reservation;
use crate::api::{Created, Env, SandboxId, SnapshotId};
use crate::gone::Gone;
use crate::kept::Kept;
use crate::shape::Shape;
use crate::{Error, Result};

/// One sandbox. Its commands go through `link` and hold no lock; what changes its machine holds that of the machine.
pub(crate) struct Sandbox {
    pub(crate) created: Created,
    pub(crate) env: Env,
    pub(crate) expires: Instant,
    pub(crate) link: Arc<dyn GuestLink>,
    pub(crate) shape: Shape,
    /// The client's snapshot that it goes on from.
    pub(crate) snapshot: Option<SnapshotId>,
    life: Mutex<Life>,
    /// Absent once it is destroyed.
    holdings: Mutex<Option<Holdings>>,
}

/// What a sandbox holds of the host and of the service. Dropped in this order: the files of what it goes on from, and
/// its room, are free when its machine is gone.
pub(crate) struct Holdings {
    pub(crate) machine: Box<dyn Machine>,
    /// What its machine goes on from, and may have mapped.
    pub(crate) _origin: Option<Arc<Kept>>,
    pub(crate) _reservation: Reservation,
}

#[derive(Default)]
struct Life {
    end: Option<Gone>,
    /// Gives up each command that runs.
    commands: BTreeMap<u64, Cancel>,
    /// The number of the next command.
    next: u64,
}

/// What a new sandbox is made of.
pub(crate) struct Parts {
    pub(crate) created: Created,
    pub(crate) env: Env,
    pub(crate) expires: Instant,
    pub(crate) link: Arc<dyn GuestLink>,
    pub(crate) shape: Shape,
    pub(crate) snapshot: Option<SnapshotId>,
    pub(crate) holdings: Holdings,
}

impl Sandbox {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { created, env, expires, link, shape, snapshot, holdings } = parts;
        let holdings = Mutex::new(Some(holdings));
        Self { created, env, expires, link, shape, snapshot, life: Mutex::default(), holdings }
    }

    pub(crate) fn id(&self) -> &SandboxId {
        &self.created.sandbox_id
    }

    /// Lets one more command run, which the end of the sandbox gives up with `cancel`.
    pub(crate) fn begin_exec(&self, limit: u32, cancel: &Cancel) -> Result<Running<'_>> {
        let mut life = self.life();
        if let Some(end) = &life.end {
            return Err(gone(self.id(), end));
        }
        if life.commands.len() >= limit as usize {
            return Err(Error::ExecLimit { sandbox: self.id().clone(), limit });
        }
        let number = life.next;
        life.next += 1;
        life.commands.insert(number, cancel.clone());
        Ok(Running { sandbox: self, number })
    }

    /// Begins its end: its commands are given up, and no more begin. The first reason counts: gives whether this was it.
    pub(crate) fn begin_end(&self, reason: &Gone) -> bool {
        let commands: Vec<Cancel> = {
            let mut life = self.life();
            if life.end.is_some() {
                return false;
            }
            life.end = Some(reason.clone());
            life.commands.values().cloned().collect()
        };
        commands.iter().for_each(Cancel::cancel);
        true
    }

    /// Whether its life time is over.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.expires
    }

    /// Why it is ending, or has ended.
    pub(crate) fn end(&self) -> Option<Gone> {
        self.life().end.clone()
    }

    /// What it holds, when nobody is busy with that.
    pub(crate) fn try_holdings(&self) -> Option<MutexGuard<'_, Option<Holdings>>> {
        match self.holdings.try_lock() {
            Ok(holdings) => Some(holdings),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What it holds; waits for whoever is busy with that.
    pub(crate) fn holdings(&self) -> MutexGuard<'_, Option<Holdings>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer for a sandbox that has ended.
pub(crate) fn gone(id: &SandboxId, end: &Gone) -> Error {
    Error::SandboxGone { sandbox: id.clone(), reason: end.clone() }
}

/// A command that runs in a sandbox.
pub(crate) struct Running<'a> {
    sandbox: &'a Sandbox,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.sandbox.life().commands.remove(&self.number);
    }
}
