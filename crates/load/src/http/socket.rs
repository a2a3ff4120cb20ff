//! A connection to the server that never waits.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with, sockopt,
};

use crate::target::CallFailure;

#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// What came of an attempt to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes; there may be more.
    Bytes(usize),
    /// Nothing is there yet.
    Nothing,
    /// The server has ended the connection.
    End,
}

impl Socket {
    /// A connection that is there already.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of(stream: impl Into<OwnedFd>) -> Self {
        Self(stream.into())
    }

    /// Begins to connect, and has the epoll tell under this number whatever happens. Edge-triggered: what is
    /// there must be read to the end of the answer, or until there is no more.
    pub(crate) fn connect(address: SocketAddr, epoll: &OwnedFd, token: u64) -> Result<Self, Errno> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &socket, EventData::new_u64(token), interest)?;
        Ok(Self(socket))
    }

    /// Sends what the kernel takes now; 0 also while the connection is not there yet.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        loop {
            match send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => return Ok(0),
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// Reads what is there, as much as the buffer holds.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Received, Errno> {
        loop {
            match recv(&self.0, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(Received::End),
                Ok((bytes, _)) => return Ok(Received::Bytes(bytes)),
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// How a failure of the kernel is counted.
pub(crate) fn failure(what: &str, address: SocketAddr, error: Errno) -> CallFailure {
    let class = match error {
        Errno::CONNREFUSED => "refused",
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED => "lost",
        Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::NETDOWN => "unreachable",
        Errno::TIMEDOUT => "timeout",
        Errno::MFILE | Errno::NFILE => "no_descriptors",
        Errno::ADDRNOTAVAIL => "no_ports",
        _ => "io",
    };
    CallFailure::new(class, format!("cannot {what} {address}: {}", std::io::Error::from(error)))
}

/// The server ended the connection before the whole answer was there.
pub(crate) fn lost(address: SocketAddr) -> CallFailure {
    CallFailure::new("lost", format!("{address} ended the connection before its answer was complete"))
}

/// Whether an answer with this status is a success; redirects are not followed.
pub(crate) fn judge(status: u16) -> Result<(), CallFailure> {
    match status {
        ..400 => Ok(()),
        400..500 => Err(CallFailure::new("http_4xx", format!("the server answered with status {status}"))),
        500.. => Err(CallFailure::new("http_5xx", format!("the server answered with status {status}"))),
    }
}
