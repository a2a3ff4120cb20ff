//! Where a running lab is found.
//!
//! ```text
//! CACHE/lab/lock      held by the owner for life; its pid
//!           socket    where the owner answers
//!           log       what the owner said
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self as stdio, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::io;
use crate::{Error, Result};

/// The directory of the one lab that a cache has.
#[derive(Clone, Debug)]
pub struct Place {
    directory: PathBuf,
}

/// The right to be the one lab, held as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    place: Place,
    _lock: File,
}

/// What a lab says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process that holds it.
    pub owner_pid: u32,
    /// Time since it was ready.
    pub up_ms: u64,
    /// Time until it ends by itself.
    pub remaining_ms: u64,
    /// Time that it took to be ready.
    pub start_ms: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory, in bytes.
    pub memory_bytes: u64,
    /// The host's files that it has, as they were.
    pub shared: Vec<Copied>,
}

/// A file of the host as it was when the lab got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The file of the host.
    pub source: PathBuf,
    /// Where it lies below [`SHARE`](crate::SHARE).
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Time of the last change.
    pub modified: SystemTime,
    /// SHA-256 of the contents, in hexadecimal.
    pub sha256: String,
}

impl Copied {
    /// The file as it is now.
    pub(crate) fn of(source: &Path, path: &str) -> Result<Self> {
        let (size_bytes, modified) = look(source).map_err(io(format!("look at {}", source.display())))?;
        let sha256 = virtmark_image::sha256_file(source)?;
        Ok(Self { source: source.into(), path: path.into(), size_bytes, modified, sha256 })
    }

    /// Whether the host's file still has the same contents. They are read when its time is another.
    pub(crate) fn is_current(&self) -> bool {
        let Ok((size_bytes, modified)) = look(&self.source) else { return false };
        size_bytes == self.size_bytes
            && (modified == self.modified
                || virtmark_image::sha256_file(&self.source).is_ok_and(|sha256| sha256 == self.sha256))
    }
}

/// Size and time of the last change.
fn look(source: &Path) -> stdio::Result<(u64, SystemTime)> {
    let metadata = fs::metadata(source)?;
    Ok((metadata.len(), metadata.modified()?))
}

impl Place {
    /// The place below this cache.
    pub fn in_cache(cache: &Path) -> Self {
        Self { directory: cache.join("lab") }
    }

    /// What the owner says.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Makes the directory.
    pub fn prepare(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(io(format!("create {}", self.directory.display())))
    }

    /// Becomes the one lab of this place.
    pub(crate) fn hold(&self) -> Result<Held> {
        self.prepare()?;
        let path = self.directory.join("lock");
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut lock = opened.map_err(io(format!("open {}", path.display())))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            // Whoever holds it has just begun when there is no number yet.
            let _ = lock.read_to_string(&mut text);
            return Err(Error::Busy { pid: text.trim().parse().unwrap_or_default() });
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()));
        written.map_err(io(format!("write {}", path.display())))?;
        Ok(Held { place: self.clone(), _lock: lock })
    }

    /// Connects to the owner; fails with [`Error::Absent`] where there is none.
    pub(crate) fn connect(&self) -> Result<UnixStream> {
        let Ok(directory) = File::open(&self.directory) else { return Err(Error::Absent) };
        match UnixStream::connect(short(&directory)) {
            Ok(stream) => Ok(stream),
            Err(error)
                if matches!(
                    error.kind(),
                    stdio::ErrorKind::NotFound | stdio::ErrorKind::ConnectionRefused
                ) =>
            {
                Err(Error::Absent)
            }
            Err(source) => Err(io("connect to the lab")(source)),
        }
    }
}

impl Held {
    /// Opens the socket, in the place of one that a killed owner left.
    pub(crate) fn listen(&self) -> Result<UnixListener> {
        let path = self.place.directory.join("socket");
        let listen = || {
            // What is there is nobody's: the lock is ours.
            let _ = fs::remove_file(&path);
            UnixListener::bind(short(&File::open(&self.place.directory)?))
        };
        listen().map_err(io(format!("open {}", path.display())))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The lock file stays, so that nobody can hold one that has no name any more.
        let _ = fs::remove_file(self.place.directory.join("socket"));
    }
}

/// The socket's path through a descriptor: an address has room for 107 bytes, whatever the cache is called.
fn short(directory: &File) -> PathBuf {
    format!("/proc/self/fd/{}/socket", directory.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_lab_and_it_is_found() {
        let cache = tempfile::tempdir().unwrap();
        // Deeper than the address of a socket is long.
        let place = Place::in_cache(&cache.path().join("x".repeat(120)));
        assert!(matches!(place.connect(), Err(Error::Absent)));
        let held = place.hold().unwrap();
        let text = place.hold().unwrap_err().to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(matches!(place.connect(), Err(Error::Absent)));
        let listener = held.listen().unwrap();
        place.connect().unwrap();
        drop((listener, held));
        assert!(matches!(place.connect(), Err(Error::Absent)));
        // What a killed owner leaves is in nobody's way.
        let held = place.hold().unwrap();
        std::mem::forget(held.listen().unwrap());
        held.listen().unwrap();
    }

    #[test]
    fn a_file_that_was_built_again_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("program");
        fs::write(&path, "one").unwrap();
        let copied = Copied::of(&path, "bin/program").unwrap();
        assert!(copied.is_current());
        let write = |content: &str| {
            fs::write(&path, content).unwrap();
            let later = copied.modified + std::time::Duration::from_secs(1);
            File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        };
        // The same bytes are the same program, whenever they were written.
        write("one");
        assert!(copied.is_current());
        write("two");
        assert!(!copied.is_current());
        write("three");
        assert!(!copied.is_current());
        fs::remove_file(&path).unwrap();
        assert!(!copied.is_current());
    }
}
