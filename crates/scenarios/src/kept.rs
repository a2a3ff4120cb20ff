//! A snapshot that is removed on every way out.

use std::io;
use std::path::{Path, PathBuf};

use virtmark_hypervisor::{Hypervisor, Snapshot};

use crate::Progress;

/// A snapshot, or the directory where one was to be, which is removed on every way out.
pub(crate) struct Kept<'a> {
    hypervisor: &'a dyn Hypervisor,
    progress: &'a dyn Progress,
    directory: PathBuf,
    snapshot: Option<Snapshot>,
}

impl<'a> Kept<'a> {
    /// The place of a snapshot that is yet to be made.
    pub(crate) fn place(
        hypervisor: &'a dyn Hypervisor,
        progress: &'a dyn Progress,
        directory: PathBuf,
    ) -> Self {
        Self { hypervisor, progress, directory, snapshot: None }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Holds the snapshot that was made in this place.
    pub(crate) fn hold(&mut self, snapshot: Snapshot) -> &Snapshot {
        self.snapshot.insert(snapshot)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let warn = |error: &dyn std::fmt::Display| {
            self.progress.warn(&format!("cannot remove the snapshot {}: {error}", self.directory.display()));
        };
        if let Some(snapshot) = self.snapshot.take()
            && let Err(error) = self.hypervisor.discard(snapshot)
        {
            warn(&error);
        }
        // What a snapshot that failed in the middle left.
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => warn(&error),
            _ => {}
        }
    }
}
