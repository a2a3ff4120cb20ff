//! What can go wrong with an archive, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;
use rustix::fs::Access;
use thiserror::Error;
use virtmark_model::RunId;

use crate::holder::{Holder, lock_holder};

/// The result of an operation on an archive.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on an archive failed. Every message names the file or the run and a way out; what the system
/// said is the source, told by whoever prints the chain.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A shortened run id that fits several runs.
    #[error(
        "{selector:?} fits {total} runs: {}{}; give more of the id",
        candidates.join(", "),
        if *total > candidates.len() { ", …" } else { "" }
    )]
    AmbiguousRun {
        /// What was asked for.
        selector: String,
        /// How many runs it fits.
        total: usize,
        /// The newest of them.
        candidates: Vec<String>,
    },
    /// The file is a damaged archive, or no database at all.
    #[error(
        "{action}: {} is damaged or not an archive ({reason}); it was left as it is: move it aside, or \
         name another file with --archive; `sqlite3 FILE .recover` may save what is in it",
        path.display()
    )]
    Damaged {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system of the archive is full.
    #[error(
        "{action}: no space left for {}; every sample acknowledged before is kept: free some space, \
         remove old runs, or name a file on another disk with --archive",
        path.display()
    )]
    DiskFull {
        /// What was attempted.
        action: &'static str,
        /// The archive's file.
        path: PathBuf,
    },
    /// A text that was to be imported is not what an export writes.
    #[error(
        "importing a run: line {line}: {reason}; nothing was imported: give a file written by export as \
         json or jsonl"
    )]
    Import {
        /// Line of the text, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A sample or run that the archive does not take; always a mistake of the caller.
    #[error("storing {what} of run {run}: {reason}")]
    Invalid {
        /// The run it belongs to.
        run: RunId,
        /// What was to be stored.
        what: String,
        /// Why it was refused.
        reason: String,
    },
    /// The operating system refused something for a reason that has no variant of its own.
    #[error("{action}: {} cannot be used; name another file with --archive", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process kept the archive locked for longer than the time limit.
    #[error(
        "{action}: {} has been locked by {} for {:.1} s; wait for it to end, or name another file with \
         --archive",
        path.display(),
        holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::to_string),
        waited.as_secs_f64()
    )]
    Locked {
        /// What was attempted.
        action: &'static str,
        /// The archive's file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
        /// Who holds the lock, where the kernel tells.
        holder: Option<Holder>,
    },
    /// There is no archive yet.
    #[error(
        "there is no archive at {}; it is made by the first run, or name another file with --archive",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is no longer where it was opened: what is written now would go to no file, or to one without a name.
    #[error(
        "{action}: {} was moved, replaced or deleted while in use; samples stored before are in the file \
         that was there: start the run again",
        path.display()
    )]
    Moved {
        /// What was attempted.
        action: &'static str,
        /// Where the archive was.
        path: PathBuf,
    },
    /// A newer virtmark wrote the archive.
    #[error(
        "{} has archive version {found}, and this virtmark reads up to {supported}; it was left as it is: \
         update virtmark, or name another file with --archive",
        path.display()
    )]
    NewerVersion {
        /// The archive's file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        supported: i64,
    },
    /// Neither variable that leads to the user's data directory is set.
    #[error(
        "finding the archive: neither XDG_DATA_HOME nor HOME holds an absolute path; set one, or \
         VIRTMARK_ARCHIVE, or use --archive FILE"
    )]
    NoDataDirectory,
    /// The archive holds no run at all.
    #[error("{} holds no run yet; make one first, or name another file with --archive", path.display())]
    NoRuns {
        /// The archive's file.
        path: PathBuf,
    },
    /// The file is somebody else's, of whatever format.
    #[error(
        "{} is not an archive of virtmark ({reason}); it was left as it is: name another file with \
         --archive",
        path.display()
    )]
    NotAnArchive {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// Writing an export failed.
    #[error("exporting run {run}: the output could not be written")]
    Output {
        /// The run.
        run: RunId,
        /// Why it failed; a closed pipe is told by its kind.
        source: io::Error,
    },
    /// The user may not read or write the archive.
    #[error(
        "{action}: access to {} denied ({reason}); change its permissions, or name another file with \
         --archive",
        path.display()
    )]
    PermissionDenied {
        /// What was attempted.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// In the words of the system.
        reason: String,
    },
    /// A run of this name is there already.
    #[error(
        "run {run} is in {} already; remove it first, or name another file with --archive",
        path.display()
    )]
    RunExists {
        /// The archive's file.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// The process that writes the run is alive.
    #[error("removing run {run}: process {pid} is still writing it; end that process first")]
    RunInProgress {
        /// The run.
        run: RunId,
        /// Its process.
        pid: u32,
    },
    /// SQLite failed in a way that has no variant of its own.
    #[error(
        "{action}: SQLite failed on {}; if it happens again, name another file with --archive",
        path.display()
    )]
    Sqlite {
        /// What was attempted.
        action: &'static str,
        /// The archive's file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// No run fits.
    #[error(
        "no run is called {selector:?}{}; `virtmark runs` lists all",
        if near.is_empty() { String::new() } else { format!(" (near: {})", near.join(", ")) }
    )]
    UnknownRun {
        /// What was asked for.
        selector: String,
        /// Ids that resemble it.
        near: Vec<String>,
    },
}

/// What every failure of SQLite is told with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) path: &'a Path,
    pub(crate) action: &'static str,
    pub(crate) busy_timeout: Duration,
}

impl Context<'_> {
    /// Puts a failure of SQLite into the words of this crate.
    pub(crate) fn explain(self, error: rusqlite::Error) -> Error {
        let Self { path, action, busy_timeout } = self;
        let path = path.to_owned();
        let Some(failure) = error.sqlite_error() else {
            return match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..) => {
                    Error::Damaged { action, path, reason: error.to_string() }
                }
                _ => Error::Sqlite { action, path, source: error },
            };
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                let holder = lock_holder(&path);
                Error::Locked { action, path, waited: busy_timeout, holder }
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Error::Damaged { action, path, reason: error.to_string() }
            }
            ErrorCode::DiskFull => Error::DiskFull { action, path },
            // The file of WAL's shared memory is filled by plain writes, whose lack of space SQLite reports as I/O.
            ErrorCode::SystemIoFailure if is_full(&path) => Error::DiskFull { action, path },
            ErrorCode::ReadOnly if failure.extended_code == rusqlite::ffi::SQLITE_READONLY_DBMOVED => {
                Error::Moved { action, path }
            }
            ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
                Error::PermissionDenied { action, path, reason: error.to_string() }
            }
            ErrorCode::CannotOpen => explain_cannot_open(action, path, error),
            _ => Error::Sqlite { action, path, source: error },
        }
    }
}

impl Error {
    /// Puts a failure of the operating system into the words of this crate.
    pub(crate) fn from_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::PermissionDenied { action, path, reason: source.to_string() }
            }
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => Self::DiskFull { action, path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// SQLite says only that a file cannot be opened; the system knows why.
fn explain_cannot_open(action: &'static str, path: PathBuf, error: rusqlite::Error) -> Error {
    if path.is_dir() {
        return Error::NotAnArchive { path, reason: "it is a directory".into() };
    }
    // A new file, and WAL's side files, need a directory that can be written.
    let denied =
        [(path.as_path(), Access::READ_OK), (directory_of(&path), Access::WRITE_OK | Access::EXEC_OK)]
            .into_iter()
            .find_map(|(place, access)| match rustix::fs::access(place, access) {
                Err(
                    error @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM | rustix::io::Errno::ROFS),
                ) => Some((place.to_owned(), error.to_string())),
                _ => None,
            });
    match denied {
        Some((path, reason)) => Error::PermissionDenied { action, path, reason },
        None if is_full(&path) => Error::DiskFull { action, path },
        None => Error::Sqlite { action, path, source: error },
    }
}

/// Whether the file system of `path` has no block left for this user.
fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(directory_of(path)).is_ok_and(|space| space.f_bavail == 0)
}

/// The directory a file is in; `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
