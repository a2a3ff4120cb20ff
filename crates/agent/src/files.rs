//! Files on their way in and out.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use virtmark_protocol::{ErrorKind, Reply, checksum_append};

use crate::line::read_again;

/// Why a transfer failed.
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl Failure {
    /// Says what was attempted.
    pub(crate) fn of(action: String) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { kind: kind_of(&error), message: format!("{action}: {error}") }
    }
}

/// The protocol's word for an error of the system.
pub(crate) fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::InvalidInput => ErrorKind::BadRequest,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
        io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => ErrorKind::NoSpace,
        _ => ErrorKind::Io,
    }
}

/// A file that is being written, under another name until it is complete.
pub(crate) struct Incoming {
    pub(crate) request: u32,
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    mode: u32,
    size_bytes: u64,
    written_bytes: u64,
    crc32c: u32,
}

impl Incoming {
    pub(crate) fn start(request: u32, path: &str, mode: u32, size_bytes: u64) -> Result<Self, Failure> {
        let path = PathBuf::from(path);
        let name = path.file_name().filter(|_| path.is_absolute()).ok_or_else(|| Failure {
            kind: ErrorKind::BadRequest,
            message: format!("write {}: not the absolute path of a file", path.display()),
        })?;
        let mut temporary_name = OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".virtmark-{}-{request}", std::process::id()));
        let temporary = path.with_file_name(temporary_name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(&temporary)
            .map_err(Failure::of(format!("create {}", temporary.display())))?;
        Ok(Self { request, file, path, temporary, mode, size_bytes, written_bytes: 0, crc32c: 0 })
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.file.write_all(data).map_err(Failure::of(format!("write {}", self.temporary.display())))?;
        self.written_bytes += data.len() as u64;
        self.crc32c = checksum_append(self.crc32c, data);
        Ok(())
    }

    /// Puts the file in its place, if it is what was announced.
    pub(crate) fn finish(self, crc32c: u32) -> Result<(), Failure> {
        if self.written_bytes != self.size_bytes || self.crc32c != crc32c {
            return Err(Failure {
                kind: ErrorKind::Checksum,
                message: format!(
                    "write {}: {} bytes with CRC32C {:08x} arrived, {} bytes with {crc32c:08x} were announced",
                    self.path.display(),
                    self.written_bytes,
                    self.crc32c,
                    self.size_bytes,
                ),
            });
        }
        self.file
            .set_permissions(Permissions::from_mode(self.mode & 0o7777))
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(Failure::of(format!("put {} in place", self.path.display())))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already when the file was put in its place.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A file that is being read.
pub(crate) struct Outgoing {
    pub(crate) request: u32,
    /// Bytes that the host is ready to take.
    pub(crate) credit_bytes: usize,
    pub(crate) mode: u32,
    pub(crate) size_bytes: u64,
    file: File,
    path: PathBuf,
    crc32c: u32,
}

impl Outgoing {
    pub(crate) fn start(request: u32, path: &str, window_bytes: u32) -> Result<Self, Failure> {
        let path = Path::new(path);
        let failure = || Failure::of(format!("read {}", path.display()));
        // Without waiting: opening a FIFO must not stop the agent.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(failure())?;
        let metadata = file.metadata().map_err(failure())?;
        if !metadata.is_file() {
            return Err(Failure {
                kind: ErrorKind::NotRegular,
                message: format!("read {}: not a regular file", path.display()),
            });
        }
        Ok(Self {
            request,
            credit_bytes: window_bytes as usize,
            mode: metadata.permissions().mode() & 0o7777,
            size_bytes: metadata.len(),
            file,
            path: path.into(),
            crc32c: 0,
        })
    }

    /// The next piece of content, or the end.
    pub(crate) fn next<'a>(&mut self, buffer: &'a mut [u8]) -> Result<Reply<'a>, Failure> {
        let room = buffer.len().min(self.credit_bytes);
        let read = read_again(&mut self.file, &mut buffer[..room])
            .map_err(Failure::of(format!("read {}", self.path.display())))?;
        self.credit_bytes -= read;
        self.crc32c = checksum_append(self.crc32c, &buffer[..read]);
        Ok(match read {
            0 => Reply::GetEnd { crc32c: self.crc32c },
            _ => Reply::GetData(&buffer[..read]),
        })
    }
}
