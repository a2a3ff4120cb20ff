//! Locks between processes and threads: `flock`, which the kernel releases when its holder dies.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::ImageError;
use crate::error::IoContext;

/// A lock on an open file, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a whole store, waiting for whoever has it; `waiting` is called once before the wait.
    pub(super) fn store(path: &Path, waiting: impl FnOnce()) -> Result<Self, ImageError> {
        if let Some(lock) = Self::try_store(path)? {
            return Ok(lock);
        }
        waiting();
        let file = open(path)?;
        retry(|| flock(&file, FlockOperation::LockExclusive)).on("lock", path)?;
        Ok(Self { _file: file })
    }

    /// Takes the lock of a whole store, or nothing when someone has it.
    pub(super) fn try_store(path: &Path) -> Result<Option<Self>, ImageError> {
        let file = open(path)?;
        attempt(file, FlockOperation::NonBlockingLockExclusive, path)
    }

    /// Marks an image as in use through its manifest; any number may hold this at once.
    pub(super) fn shared(file: File, path: &Path) -> Result<Option<Self>, ImageError> {
        attempt(file, FlockOperation::NonBlockingLockShared, path)
    }

    /// Takes an image's manifest for removal, or nothing when the image is in use.
    pub(super) fn exclusive(file: File, path: &Path) -> Result<Option<Self>, ImageError> {
        attempt(file, FlockOperation::NonBlockingLockExclusive, path)
    }
}

fn open(path: &Path) -> Result<File, ImageError> {
    File::options().create(true).truncate(false).write(true).open(path).on("open", path)
}

fn attempt(file: File, operation: FlockOperation, path: &Path) -> Result<Option<Lock>, ImageError> {
    match retry(|| flock(&file, operation)) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).on("lock", path),
    }
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
