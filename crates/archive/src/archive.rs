//! Opening an archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::{Context, directory_of};
use crate::schema::{self, Content};
use crate::{Error, Result};

/// How long an operation waits for another process's lock, unless told otherwise. A writer holds the lock for one
/// sample at a time, so that only a stuck or foreign process is ever waited for this long.
const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts at something that SQLite does not wait for by itself.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// All runs of a user, in one SQLite file. Several processes may use it at the same time.
#[derive(Debug)]
pub struct Archive {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
    pub(crate) options: OpenOptions,
}

/// How an archive is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    busy_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { busy_timeout: DEFAULT_BUSY_TIMEOUT }
    }
}

impl Archive {
    /// Opens the archive at `path` for reading and writing, and makes it, with its directory, where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::NewerVersion`] and [`Error::NotAnArchive`] leave the file untouched;
    /// [`Error::DiskFull`], [`Error::Io`], [`Error::Locked`], [`Error::PermissionDenied`], [`Error::Sqlite`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::default().open(path)
    }

    /// Opens the archive at `path` for reading only; also one on a medium that cannot be written.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] where there is none; otherwise as [`Archive::open`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::default().open_read_only(path)
    }

    /// The archive's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn context(&self, action: &'static str) -> Context<'_> {
        self.options.context(&self.path, action)
    }
}

impl OpenOptions {
    /// Waits this long for another process's lock before giving up with [`Error::Locked`]; 5 s by default.
    pub fn busy_timeout(self, busy_timeout: Duration) -> Self {
        Self { busy_timeout }
    }

    /// As [`Archive::open`].
    ///
    /// # Errors
    ///
    /// As [`Archive::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Archive> {
        const ACTION: &str = "opening the archive";
        let path = path.as_ref();
        let directory = directory_of(path);
        fs::create_dir_all(directory).map_err(|error| Error::from_io(ACTION, directory, error))?;
        let connection = self.connect_for_writing(path, ACTION)?;
        Ok(Archive { connection, path: path.to_owned(), options: self })
    }

    /// As [`Archive::open_read_only`].
    ///
    /// # Errors
    ///
    /// As [`Archive::open_read_only`].
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        let context = self.context(path, "opening the archive for reading");
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(Error::Missing { path: path.to_owned() }),
            Err(error) => return Err(Error::from_io(context.action, path, error)),
        }
        let (connection, content) = self.connect_for_reading(path).map_err(|error| context.explain(error))?;
        if accept(path, content)? == Content::Empty {
            return Err(Error::Missing { path: path.to_owned() });
        }
        Ok(Archive { connection, path: path.to_owned(), options: self })
    }

    /// A connection that can write a file which is an archive of the newest version when this returns.
    pub(crate) fn connect_for_writing(self, path: &Path, action: &'static str) -> Result<Connection> {
        let context = self.context(path, action);
        let explain = |error| context.explain(error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(explain)?;
        connection.busy_timeout(self.busy_timeout).map_err(explain)?;
        // Nothing is written before it is known whose file this is.
        accept(path, schema::inspect(&connection).map_err(explain)?)?;
        // A file without write permission opens all the same.
        if connection.is_readonly("main").map_err(explain)? {
            let reason = "the file cannot be written".to_owned();
            return Err(Error::PermissionDenied { action, path: path.to_owned(), reason });
        }
        self.switch_to_wal(&connection).map_err(explain)?;
        // FULL: a commit returns when the log is on the disk, not merely with the kernel.
        connection.pragma_update(None, "synchronous", "FULL").map_err(explain)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(explain)?;
        schema::migrate(&mut connection).map_err(explain)?;
        Ok(connection)
    }

    fn connect_for_reading(self, path: &Path) -> rusqlite::Result<(Connection, Content)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = |connection: Connection| {
            connection.busy_timeout(self.busy_timeout)?;
            let content = schema::inspect(&connection)?;
            Ok((connection, content))
        };
        let result = Connection::open_with_flags(path, flags).and_then(connect);
        let cannot_make_side_files =
            result.as_ref().err().and_then(rusqlite::Error::sqlite_error_code).is_some_and(|code| {
                matches!(code, ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly)
            });
        if !cannot_make_side_files || has_log(path) {
            return result;
        }
        // WAL's readers take part in its shared memory. Where that cannot be made, no writer can be there either,
        // and with no log beside it the file is all there is.
        let Some(uri) = immutable_uri(path) else { return result };
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).and_then(connect)
    }

    /// SQLite's own wait does not cover every step of the switch, which a second process may be making right now.
    fn switch_to_wal(self, connection: &Connection) -> rusqlite::Result<()> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            let busy = match connection.pragma_update(None, "journal_mode", "WAL") {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => error,
                result => return result,
            };
            if Instant::now() >= deadline {
                return Err(busy);
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    pub(crate) fn context<'a>(self, path: &'a Path, action: &'static str) -> Context<'a> {
        Context { path, action, busy_timeout: self.busy_timeout }
    }
}

/// Refuses what is not an archive of a version known here.
fn accept(path: &Path, content: Content) -> Result<Content> {
    let supported = schema::supported_version();
    match content {
        Content::Archive { version: found } if found > supported => {
            Err(Error::NewerVersion { path: path.to_owned(), found, supported })
        }
        Content::Foreign => {
            let reason = "it is a database of another program".to_owned();
            Err(Error::NotAnArchive { path: path.to_owned(), reason })
        }
        Content::Archive { .. } | Content::Empty => Ok(content),
    }
}

/// Whether a write-ahead log with content lies beside the file.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0)
}

/// The path as SQLite's URI for a file that nobody changes; `None` for a path that is not UTF-8.
fn immutable_uri(path: &Path) -> Option<String> {
    let absolute = std::path::absolute(path).ok()?;
    let escaped = absolute.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file://{escaped}?immutable=1"))
}
