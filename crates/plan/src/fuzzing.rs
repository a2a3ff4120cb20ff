//! Doors for fuzz targets: what a Redis answers comes in by a connection only.

use std::io::{self, BufRead};

use crate::resp::{Reply, read_reply};

/// Reads one answer, and gives how much content it has: bytes, or characters of a message.
///
/// # Errors
/// The end of the stream, or what is not the protocol.
pub fn read_redis(stream: &mut impl BufRead) -> io::Result<usize> {
    read_reply(stream).map(|reply| match reply {
        Reply::Array(texts) => texts.iter().flatten().map(Vec::len).sum(),
        Reply::Bulk(text) => text.len(),
        Reply::Error(text) | Reply::Simple(text) => text.chars().count(),
        Reply::Int(_) | Reply::Nil => 0,
    })
}
