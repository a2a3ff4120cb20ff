//! The open line: frames in, frames out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use virtmark_protocol::{Decoder, Reply, encode};

use crate::transport::AtEnd;

/// Output is written when this much is waiting, and before every wait.
const FLUSH_BYTES: usize = 32 * 1024;

/// The open line.
pub(crate) struct Line {
    file: File,
    pub(crate) decoder: Decoder,
    out: Vec<u8>,
    at_end: AtEnd,
}

/// What reading the line gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, which are in the decoder.
    Bytes,
    /// The host is not connected, and may come back on this line.
    Disconnected,
    /// The line has ended for good.
    End,
}

impl Line {
    pub(crate) fn new(fd: OwnedFd, at_end: AtEnd) -> Self {
        Self { file: File::from(fd), decoder: Decoder::new(), out: Vec::new(), at_end }
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self) -> Received {
        match self.decoder.read_from(&mut self.file) {
            Ok(0) | Err(_) if self.at_end != AtEnd::Wait => Received::End,
            Ok(0) => self.disconnected(),
            Ok(_) => Received::Bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Bytes,
            Err(_) => self.disconnected(),
        }
    }

    /// Notes that the host is not there: it will not finish the frame it was sending.
    pub(crate) fn disconnected(&mut self) -> Received {
        self.decoder.reset();
        Received::Disconnected
    }

    /// Whether the host may come back on this line.
    pub(crate) fn can_reconnect(&self) -> bool {
        self.at_end == AtEnd::Wait
    }

    /// Queues a reply. Fails only when the line has ended for good.
    pub(crate) fn send(&mut self, session: u64, request: u32, reply: &Reply<'_>) -> io::Result<()> {
        encode(session, request, reply, &mut self.out).map_err(io::Error::other)?;
        if self.out.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what is queued; waits as long as the host does not take it. Fails only when the line has ended for good.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            match self.file.write(&self.out[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.at_end != AtEnd::Wait => return Err(error),
                // The port is being taken away or given back: whoever comes next starts with a Hello.
                Err(_) => {
                    thread::sleep(Duration::from_millis(1));
                    break;
                }
            }
        }
        self.out.clear();
        Ok(())
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Reads like [`Read::read`], again when a signal interrupted it.
pub(crate) fn read_again(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
