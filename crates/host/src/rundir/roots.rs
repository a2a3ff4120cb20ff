//! Where run directories are made.

use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::error::RunDirError;
use super::locked;
use crate::memory;

/// Chooses the place of run directories.
pub(super) const RUN_DIR_VARIABLE: &str = "VIRTMARK_RUN_DIR";
/// Chooses the place of bulk data.
pub(super) const SCRATCH_VARIABLE: &str = "VIRTMARK_SCRATCH";

/// What a place keeps free beyond what was asked for.
const HEADROOM_BYTES: u64 = 512 << 20;

/// The directories under which runs make theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    pub(super) control: PathBuf,
    pub(super) bulk: Vec<PathBuf>,
}

impl Roots {
    /// Exactly these: one for sockets and records, and some for bulk data in order of preference.
    pub fn new(control: impl Into<PathBuf>, bulk: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { control: control.into(), bulk: bulk.into_iter().collect() }
    }

    /// What the environment says, else the system's places for such things.
    ///
    /// For run directories `$VIRTMARK_RUN_DIR`, else the first of these that can be used:
    /// `$XDG_RUNTIME_DIR/virtmark`, `/run/virtmark` for root, `$TMPDIR/virtmark-<uid>` (or under `/tmp`). For bulk
    /// data `$VIRTMARK_SCRATCH`, else `/dev/shm/virtmark-<uid>` and `/var/tmp/virtmark-<uid>`.
    pub fn from_environment() -> Result<Self, RunDirError> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        Self::choose(&variable, Path::new("/"))
    }

    fn choose(variable: &dyn Fn(&str) -> Option<OsString>, system: &Path) -> Result<Self, RunDirError> {
        let uid = geteuid();
        let own = format!("virtmark-{}", uid.as_raw());
        let bulk = match variable(SCRATCH_VARIABLE) {
            Some(scratch) => vec![absolute(PathBuf::from(scratch))],
            None => vec![system.join("dev/shm").join(&own), system.join("var/tmp").join(&own)],
        };
        if let Some(path) = variable(RUN_DIR_VARIABLE) {
            let control = absolute(PathBuf::from(path));
            prepare_base(&control, RUN_DIR_VARIABLE)?;
            return Ok(Self { control, bulk });
        }
        let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| is_own(path));
        let run = Some(system.join("run")).filter(|_| uid.is_root());
        for parent in [runtime, run].into_iter().flatten() {
            let control = parent.join("virtmark");
            if control.is_absolute() && prepare_base(&control, RUN_DIR_VARIABLE).is_ok() {
                return Ok(Self { control, bulk });
            }
        }
        let temporary =
            variable("TMPDIR").map_or_else(|| system.join("tmp"), |path| absolute(PathBuf::from(path)));
        let control = temporary.join(own);
        prepare_base(&control, RUN_DIR_VARIABLE)?;
        Ok(Self { control, bulk })
    }

    pub(super) fn prepare_control(&self) -> Result<(), RunDirError> {
        prepare_base(&self.control, RUN_DIR_VARIABLE)
    }

    /// The directories of the runs that are under way, in no particular order. Those of runs that were killed, or that
    /// another start is just removing, are none of them.
    ///
    /// # Errors
    /// As the kernel says; roots that were never used have none to show.
    pub fn live_runs(&self) -> io::Result<Vec<PathBuf>> {
        match locked::live(&self.control) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result,
        }
    }

    /// The first place for bulk data with room for this many bytes.
    pub(super) fn bulk_base(&self, bytes: u64) -> Result<&Path, RunDirError> {
        let mut places = Vec::new();
        for base in &self.bulk {
            if let Err(error) = prepare_base(base, SCRATCH_VARIABLE) {
                places.push(format!("{} ({error})", base.display()));
                continue;
            }
            let free =
                free_bytes(base).map_err(|source| io_error("measure", base, SCRATCH_VARIABLE, source))?;
            if free.checked_sub(HEADROOM_BYTES).is_some_and(|room| room >= bytes) {
                return Ok(base);
            }
            places.push(format!("{} ({free} bytes free)", base.display()));
        }
        Err(RunDirError::NoSpace { bytes, places: places.join(", ") })
    }
}

/// Makes the directory if need be, and refuses one that is not this user's alone to write to.
///
/// In a directory that everyone can write to, another user may have made ours first, to read or to redirect what
/// is put there.
fn prepare_base(path: &Path, variable: &'static str) -> Result<(), RunDirError> {
    let create = || DirBuilder::new().mode(0o700).create(path);
    let created = create().or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(parent)) => fs::create_dir_all(parent).and_then(|()| create()),
        _ => Err(error),
    });
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error("create", path, variable, error));
        }
        _ => {}
    }
    let metadata =
        fs::symlink_metadata(path).map_err(|source| io_error("examine", path, variable, source))?;
    let reason = if metadata.is_symlink() {
        "it is a symbolic link"
    } else if !metadata.is_dir() {
        "it is not a directory"
    } else if metadata.uid() != geteuid().as_raw() {
        "it belongs to another user"
    } else if metadata.mode() & 0o022 != 0 {
        "other users may write to it"
    } else {
        return Ok(());
    };
    Err(RunDirError::Unsafe { path: path.to_owned(), reason, variable })
}

fn is_own(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw())
}

/// Free for this user; where the files are memory, no more than there is memory to give.
fn free_bytes(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let is_memory = rustix::fs::statfs(path)?.f_type == libc::TMPFS_MAGIC;
    let memory = memory::available_bytes().filter(|_| is_memory);
    Ok(memory.map_or(free, |available| free.min(available)))
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

pub(super) fn io_error(
    action: &'static str,
    path: &Path,
    variable: &'static str,
    source: io::Error,
) -> RunDirError {
    RunDirError::Io { action, path: path.to_owned(), variable, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn choose(system: &Path, set: &[(&str, &Path)]) -> Result<Roots, RunDirError> {
        let find = |name: &str| {
            set.iter().find(|(key, _)| *key == name).map(|(_, path)| path.as_os_str().to_owned())
        };
        Roots::choose(&find, system)
    }

    #[test]
    fn the_environment_decides_before_the_system() {
        let system = tempfile::tempdir().unwrap();
        let root = system.path();
        for directory in ["run", "tmp", "xdg"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        let (wanted, scratch, xdg) = (root.join("a/b"), root.join("scratch"), root.join("xdg"));
        let chosen = choose(root, &[("VIRTMARK_RUN_DIR", &wanted), ("VIRTMARK_SCRATCH", &scratch)]).unwrap();
        assert_eq!(chosen, Roots::new(&wanted, [scratch]));
        assert_eq!(fs::metadata(&wanted).unwrap().mode() & 0o777, 0o700);

        assert_eq!(choose(root, &[("XDG_RUNTIME_DIR", &xdg)]).unwrap().control, xdg.join("virtmark"));
        let missing = root.join("missing");
        let fallback = choose(root, &[("XDG_RUNTIME_DIR", &missing)]).unwrap().control;
        let expected =
            if geteuid().is_root() { "run/virtmark".into() } else { format!("tmp/virtmark-{}", geteuid()) };
        assert_eq!(fallback, root.join(expected));
        assert!(!missing.exists());
    }

    #[test]
    fn a_prepared_trap_is_refused() {
        let system = tempfile::tempdir().unwrap();
        let (real, link, open) =
            (system.path().join("real"), system.path().join("link"), system.path().join("open"));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        for (path, complaint) in [(link, "symbolic link"), (open, "other users")] {
            let error = choose(system.path(), &[("VIRTMARK_RUN_DIR", &path)]).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn too_much_bulk_is_said_with_what_there_is() {
        let place = tempfile::tempdir().unwrap();
        let roots = Roots::new(place.path().join("c"), [place.path().join("one"), place.path().join("two")]);
        let error = roots.bulk_base(u64::MAX - HEADROOM_BYTES).unwrap_err().to_string();
        assert!(error.contains("one (") && error.contains("two ("), "{error}");
    }
}
