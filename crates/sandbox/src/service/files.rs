//! Files on their way into and out of sandboxes.

use std::io::{self, Read, Write};

use virtmark_hypervisor::{Cancel, Error as PlatformError};

use super::Core;
use crate::api::{FileRead, GuestPath, SandboxId};
use crate::gate::Work;
use crate::{Error, Result};

/// Permission bits that a file can have.
const MODE_MASK: u32 = 0o7777;

impl Core {
    pub(super) fn put_file(
        &self,
        id: &SandboxId,
        path: &GuestPath,
        mode: u32,
        size: u64,
        source: &mut dyn Read,
    ) -> Result<()> {
        let _pass = self.gate.enter(Work::Use)?;
        if mode & !MODE_MASK != 0 {
            return Err(Error::InvalidRequest(format!("mode is {mode:o}; 0 to {MODE_MASK:o} are possible")));
        }
        self.check_size(path, size)?;
        let sandbox = self.sandbox(id)?;
        let _running = sandbox.begin_exec(self.options.max_execs, &Cancel::new())?;
        let mut source = Source { inner: source, failed: None };
        let put = sandbox.link.put(&mut source, size, path.as_str(), mode);
        if let Some(reason) = source.failed {
            return Err(Error::ClientGone { request: format!("the content of {path}"), reason });
        }
        put.map_err(|error| self.file_failed(&sandbox, error))
    }

    pub(super) fn get_file(
        &self,
        id: &SandboxId,
        path: &GuestPath,
        target: &mut dyn Write,
    ) -> Result<FileRead> {
        let _pass = self.gate.enter(Work::Use)?;
        let sandbox = self.sandbox(id)?;
        let _running = sandbox.begin_exec(self.options.max_execs, &Cancel::new())?;
        let limit_bytes = self.options.max_file_bytes;
        let mut target = Target { inner: target, bytes: 0, limit_bytes, failed: None };
        let mode = sandbox.link.get(path.as_str(), &mut target);
        self.check_size(path, target.bytes)?;
        if let Some(reason) = target.failed {
            return Err(Error::ClientGone { request: format!("the content of {path}"), reason });
        }
        let mode = mode.map_err(|error| self.file_failed(&sandbox, error))?;
        Ok(FileRead { mode, bytes: target.bytes })
    }

    fn check_size(&self, path: &GuestPath, bytes: u64) -> Result<()> {
        let limit_bytes = self.options.max_file_bytes;
        if bytes <= limit_bytes {
            return Ok(());
        }
        Err(Error::PayloadTooLarge { what: format!("the file {path}"), limit_bytes })
    }

    /// The agent tells in words that there is no such file: those of the C library, which it passes on.
    fn file_failed(&self, sandbox: &std::sync::Arc<crate::sandbox::Sandbox>, error: PlatformError) -> Error {
        match &error {
            PlatformError::AgentRefused { reason, .. } if reason.contains("No such file or directory") => {
                Error::FileUnknown { sandbox: sandbox.id().clone(), message: error.to_string() }
            }
            _ => self.failed(sandbox, error),
        }
    }
}

/// What a client sends; remembers when that fails, which is not the guest's fault.
struct Source<'a> {
    inner: &'a mut dyn Read,
    failed: Option<String>,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(0) if !buffer.is_empty() => self.failed = Some("it ended before its announced size".into()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => self.failed = Some(error.to_string()),
            _ => {}
        }
        read
    }
}

/// What a client receives, up to a limit.
struct Target<'a> {
    inner: &'a mut dyn Write,
    bytes: u64,
    limit_bytes: u64,
    failed: Option<String>,
}

impl Write for Target<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.saturating_add(data.len() as u64) > self.limit_bytes {
            self.bytes = self.bytes.saturating_add(data.len() as u64);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.inner.write(data);
        match &written {
            Ok(count) => self.bytes += *count as u64,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => self.failed = Some(error.to_string()),
            Err(_) => {}
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
