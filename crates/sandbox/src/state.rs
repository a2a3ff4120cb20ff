//! The directory that outlives the service, and the lock that keeps it to one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::{Error, Result};

/// A state directory that this process alone uses.
///
/// ```text
/// <state>/lock             held for life; holds the process id of its holder
///         templates/<key>/ see `kept`
///         snapshots/<id>/  see `kept`
/// ```
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes it if it is not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |what: &str| Error::internal(format!("{what} the state directory {}", path.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create"))?;
        make_private(path)?;
        let lock = lock(path)?;
        let state = Self { path: path.to_path_buf(), _lock: lock };
        for directory in [state.templates(), state.snapshots()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed("fill"))?;
        }
        Ok(state)
    }

    pub(crate) fn templates(&self) -> PathBuf {
        self.path.join("templates")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }
}

/// An empty directory is made private; one with content may be somebody else's and is refused.
fn make_private(path: &Path) -> Result<()> {
    let failed = || Error::internal(format!("look at the state directory {}", path.display()));
    let found = fs::metadata(path).map_err(failed())?;
    check_owner(path, found.uid(), geteuid().as_raw())?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if fs::read_dir(path).map_err(failed())?.next().is_some() {
        return Err(Error::StateOpen { path: path.to_path_buf(), mode });
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed())
}

/// Whoever owns the directory can change what the service restores from it.
fn check_owner(path: &Path, owner: u32, own: u32) -> Result<()> {
    if owner == own { Ok(()) } else { Err(Error::StateForeign { path: path.to_path_buf(), owner, own }) }
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    let failed = || Error::internal(format!("lock {}", path.display()));
    // NOFOLLOW fits into the flags that open(2) takes.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(&path)
        .map_err(failed())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // Who holds it has written it, or is about to.
            let _ = file.read_to_string(&mut pid);
            let pid =
                if pid.trim().is_empty() { "(not on record yet)".into() } else { pid.trim().to_owned() };
            return Err(Error::StateInUse { path: directory.to_path_buf(), pid });
        }
        Err(error) => return Err(failed()(error.into())),
    }
    let written: io::Result<()> =
        file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(failed())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_per_directory_and_the_other_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/state");
        let first = StateDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let error = StateDir::open(&path).unwrap_err();
        assert!(error.to_string().contains(&format!("process id {} uses it", std::process::id())), "{error}");
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_that_belongs_to_somebody_else_is_refused() {
        let path = Path::new("/state");
        check_owner(path, 7, 7).unwrap();
        // Not for root either: it would restore what another user wrote.
        for (owner, own) in [(7, 0), (0, 7)] {
            let error = check_owner(path, owner, own).unwrap_err();
            assert_eq!(error.code(), "state_foreign");
            assert!(
                error.to_string().contains(&format!("user {owner}, and the service runs as {own}")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_directory_of_others_is_refused_and_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(place.path().join("precious"), "x").unwrap();
        assert!(matches!(StateDir::open(place.path()), Err(Error::StateOpen { mode: 0o755, .. })));
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_file(place.path().join("precious")).unwrap();
        StateDir::open(place.path()).unwrap();
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
