//! A directory that belongs to a live process for as long as that holds the lock on the file `lock` in it.
//!
//! The kernel drops the lock however the process ends, so a directory whose lock can be taken is a leftover. The
//! parent directory has a `lock` of its own, held while a directory is made, claimed or looked at: nobody sees one
//! that is made but not locked yet. Whoever claims a directory holds its lock too, and says so in the file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{BRIDGES, CGROUPS};
use crate::{cgroup, network};

pub(super) const LOCK: &str = "lock";
/// What the lock file of a directory says that is about to be removed by another process than its owner.
const CLAIMED: &[u8] = b"claimed\n";

/// A directory and the lock on it.
#[derive(Debug)]
pub(super) struct LockedDir {
    path: PathBuf,
    _lock: File,
}

impl LockedDir {
    /// Makes a directory of this name under `base`.
    pub(super) fn create(base: &Path, name: &str) -> io::Result<Self> {
        let _base_lock = lock_base(base)?;
        let path = base.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = open_lock(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes over every directory under `base` whose owner is gone.
    pub(super) fn claim_leftovers(base: &Path) -> io::Result<Vec<Self>> {
        let _base_lock = lock_base(base)?;
        let mut claimed = Vec::new();
        for path in run_directories(base)? {
            claimed.extend(Self::claim(path)?);
        }
        Ok(claimed)
    }

    /// Takes over this one directory, if it exists and its owner is gone. Only under the lock on its parent.
    fn claim(path: PathBuf) -> io::Result<Option<Self>> {
        let mut lock = match open_lock(&path) {
            Ok(lock) => lock,
            // Another start is just removing it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // On a full disk it looks alive until it is gone.
                let _ = lock.write_all(CLAIMED);
                Ok(Some(Self { path, _lock: lock }))
            }
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the directory, which is the id of the run.
    pub(super) fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Removes the directory, the lock file last: what a failure leaves is found again by the next start.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_run_directory(&self.path)
    }
}

/// The directories under `base` whose owners live.
pub(super) fn live(base: &Path) -> io::Result<Vec<PathBuf>> {
    let _base_lock = lock_base(base)?;
    let mut live = run_directories(base)?;
    live.retain(|path| is_owned(path));
    Ok(live)
}

/// Whether the process that made this run's directory lives, and still has it.
pub fn is_live(path: &Path) -> bool {
    // To look is to lock for a moment: a start that claims leftovers in that moment would pass this one over.
    path.parent().is_some_and(|base| lock_base(base).is_ok_and(|_base_lock| is_owned(path)))
}

/// Only under the lock on its parent.
fn is_owned(path: &Path) -> bool {
    let Ok(lock) = File::open(path.join(LOCK)) else { return false };
    let is_claimed = lock.metadata().is_ok_and(|metadata| metadata.len() > 0);
    !is_claimed && flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// Everything under `base` that is named as a run's directory is, and is one.
fn run_directories(base: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_str().and_then(owner_of).is_some();
        if is_ours && entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Removes the run's cgroups and bridges, everything in it, then the lock file, then itself. A directory that is not there is fine.
pub(super) fn remove_run_directory(path: &Path) -> io::Result<()> {
    remove_cgroups(path)?;
    remove_bridges(path)?;
    missing_is_fine(empty(path))?;
    // A directory without its lock file looks like a leftover; nobody may look between the next two steps.
    let _base_lock = path.parent().map(lock_base).transpose()?;
    missing_is_fine(fs::remove_file(path.join(LOCK)))?;
    missing_is_fine(fs::remove_dir(path))
}

/// Before the record of them goes: cgroups that nobody finds would stay until the host restarts.
fn remove_cgroups(path: &Path) -> io::Result<()> {
    let record = fs::read_to_string(path.join(CGROUPS)).unwrap_or_default();
    let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    for cgroup in record.lines().map(Path::new) {
        if cgroup.is_absolute() && cgroup.file_name().is_some_and(|name| name == cgroup::name(id).as_str()) {
            cgroup::remove_tree(cgroup).map_err(|error| {
                io::Error::new(error.kind(), format!("cgroup {}: {error}", cgroup.display()))
            })?;
        }
    }
    Ok(())
}

/// Before the record of them goes. A name that is not one of this run's is not believed.
fn remove_bridges(path: &Path) -> io::Result<()> {
    let record = fs::read_to_string(path.join(BRIDGES)).unwrap_or_default();
    let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    record.lines().filter(|name| network::is_bridge_of(name, id)).try_for_each(|name| {
        network::remove_bridge(name)
            .map_err(|error| io::Error::new(error.kind(), format!("bridge {name}: {error}")))
    })
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        let is_dir = entry.file_type()?.is_dir();
        missing_is_fine(if is_dir {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        })?;
    }
    Ok(())
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// `<pid>-<8 random hexadecimal digits>`. The pid is for people; the lock says who lives.
pub(super) fn new_id() -> String {
    // The standard library seeds each of these from the kernel's random numbers.
    let random = RandomState::new().build_hasher().finish() as u32;
    format!("{}-{random:08x}", std::process::id())
}

/// Pid of the process that made a directory of this name; `None` for names that are not ours.
pub(super) fn owner_of(id: &str) -> Option<i32> {
    let (pid, random) = id.split_once('-')?;
    let is_random = random.len() == 8 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_pid = pid.bytes().all(|byte| byte.is_ascii_digit());
    if is_random && is_pid { pid.parse().ok() } else { None }
}

fn lock_base(base: &Path) -> io::Result<File> {
    let lock = open_lock(base)?;
    loop {
        match flock(&lock, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            result => return result.map(|()| lock).map_err(io::Error::from),
        }
    }
}

fn open_lock(directory: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(directory.join(LOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_directory_is_not_claimed_and_a_dead_one_is_once() {
        let base = tempfile::tempdir().unwrap();
        let id = new_id();
        let live = LockedDir::create(base.path(), &id).unwrap();
        assert_eq!(live.id(), id);
        assert!(LockedDir::claim_leftovers(base.path()).unwrap().is_empty());
        fs::create_dir_all(live.path().join("m/deep")).unwrap();
        fs::write(live.path().join("m/deep/file"), "x").unwrap();

        assert_eq!(super::live(base.path()).unwrap(), [live.path()]);
        assert!(is_live(live.path()));

        drop(live);
        let path = base.path().join(&id);
        assert!(!is_live(&path), "nobody holds it");
        let claimed = LockedDir::claim_leftovers(base.path()).unwrap();
        assert_eq!(claimed.len(), 1);
        assert!(!is_live(&path), "who holds it is not its owner");
        assert!(super::live(base.path()).unwrap().is_empty());
        assert!(LockedDir::claim_leftovers(base.path()).unwrap().is_empty(), "claimed already");
        claimed[0].remove().unwrap();
        assert!(!base.path().join(&id).exists());
        claimed[0].remove().unwrap();
    }

    #[test]
    fn what_is_not_named_like_a_run_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        for name in ["precious", "12-xyz", "-01234567", "12-0123456g", "12-012345678"] {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        fs::write(base.path().join("77-01234567"), "a file").unwrap();
        assert!(LockedDir::claim_leftovers(base.path()).unwrap().is_empty());
        assert_eq!(owner_of(&new_id()), Some(std::process::id() as i32));
    }

    #[test]
    fn a_directory_that_died_before_its_lock_file_is_a_leftover() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("77-01234567")).unwrap();
        assert_eq!(LockedDir::claim_leftovers(base.path()).unwrap().len(), 1);
    }
}
