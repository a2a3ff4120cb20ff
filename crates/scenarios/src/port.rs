//! Ports of this host for servers that are measured.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// A port of the loopback interface that nobody had a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
