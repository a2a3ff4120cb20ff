//! Which files of snapshots this process knows to be whole.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What changes when somebody writes a file, or puts another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files whose content had this checksum when they had this stamp.
static KNOWN: LazyLock<Mutex<HashMap<PathBuf, (Stamp, u32)>>> = LazyLock::new(Mutex::default);

/// How many files are remembered; more are looked at again.
const KNOWN_FILES: usize = 4096;

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether the file at `path`, which has `metadata`, is known to have this checksum.
pub(crate) fn is_known(path: &Path, metadata: &Metadata, checksum: u32) -> bool {
    known().get(path) == Some(&(Stamp::of(metadata), checksum))
}

/// Notes that a file has this checksum. `before` is what it had before that was found: what was written meanwhile is
/// not known.
pub(crate) fn remember(path: &Path, before: &Metadata, checksum: u32) -> io::Result<()> {
    let stamp = Stamp::of(before);
    if Stamp::of(&path.metadata()?) == stamp {
        let mut known = known();
        if known.len() >= KNOWN_FILES {
            known.clear();
        }
        known.insert(path.to_path_buf(), (stamp, checksum));
    }
    Ok(())
}

/// Each insertion is whole between any two statements that could panic.
fn known() -> MutexGuard<'static, HashMap<PathBuf, (Stamp, u32)>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
