//! Writing files so that a crash leaves either the old or the new ones.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ImageError;
use crate::error::IoContext;

/// Start of names that only a running build has; what a dead one left is removed.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A new directory that is removed again unless it is put in place.
pub(super) struct TemporaryDir {
    path: PathBuf,
}

impl TemporaryDir {
    pub(super) fn new(parent: &Path) -> Result<Self, ImageError> {
        let path = unused_path(parent);
        fs::create_dir(&path).on("create", &path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the directory to `target`, where nothing may be, and makes that last through a power loss.
    pub(super) fn put_in_place(self, target: &Path) -> Result<(), ImageError> {
        sync_dir(&self.path)?;
        fs::rename(&self.path, target).on("create", target)?;
        target.parent().map_or(Ok(()), sync_dir)
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // After the move there is nothing here; and what cannot be removed now is removed when the store is next opened.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes a new file and waits until it is on disk.
pub(super) fn write_synced(path: &Path, contents: &[u8]) -> Result<(), ImageError> {
    let mut file = File::create(path).on("create", path)?;
    file.write_all(contents).on("write", path)?;
    file.sync_all().on("write", path)
}

/// Replaces a small file by way of a temporary one in the same directory.
pub(super) fn replace(path: &Path, contents: &[u8]) -> Result<(), ImageError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let temporary = unused_path(parent);
    let written =
        write_synced(&temporary, contents).and_then(|()| fs::rename(&temporary, path).on("replace", path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes a directory in a way that never leaves half of it under its name.
pub(super) fn remove_dir(path: &Path) -> Result<(), ImageError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let aside = unused_path(parent);
    fs::rename(path, &aside).on("remove", path)?;
    fs::remove_dir_all(&aside).on("remove", &aside)
}

/// Whether anything temporary lies in `dir`.
pub(super) fn has_leftovers(dir: &Path) -> bool {
    leftovers(dir).next().is_some()
}

/// Removes what dead builds left in `dir`; only for the holder of the store's lock.
pub(super) fn remove_leftovers(dir: &Path) -> Result<(), ImageError> {
    for path in leftovers(dir) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.on("remove", &path)?;
    }
    Ok(())
}

fn leftovers(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY))
        .map(|entry| entry.path())
}

/// A name nobody has: process numbers repeat in containers that share a store, times do not.
fn unused_path(parent: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    parent.join(format!("{TEMPORARY}{}-{count}-{now_ns}", std::process::id()))
}

fn sync_dir(path: &Path) -> Result<(), ImageError> {
    let dir = File::open(path).on("open", path)?;
    dir.sync_all().on("write", path)
}
