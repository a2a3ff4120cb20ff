//! What passes between a command and the owner of the lab: frames of a kind, a length and content, over a Unix socket.
//!
//! A connection is for one request. Both ends are the same build, or the owner says so and ends.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest content of a frame.
pub(crate) const FRAME_BYTES: usize = 64 << 10;

/// What a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of a file or of standard input.
    Data,
    /// A request, or the answer that ends it; JSON.
    Message,
    /// Bytes of standard error.
    Stderr,
    /// Bytes of standard output.
    Stdout,
}

const KINDS: [(Kind, u8); 4] =
    [(Kind::Data, b'd'), (Kind::Message, b'm'), (Kind::Stderr, b'e'), (Kind::Stdout, b'o')];

/// What can be asked of the owner.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// End the lab.
    Down,
    /// Run a program; its standard input follows as data, and ends with an empty frame.
    Exec { argv: Vec<String>, env: BTreeMap<String, String>, timeout_ms: Option<u64> },
    /// Bring a file.
    Get { path: String },
    /// Take a file, which follows as data.
    Put { path: String, mode: u32, size_bytes: u64 },
    /// Tell about the lab.
    Status,
}

/// How a request ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It was done.
    Done,
    /// The program ended.
    Exited(Exited),
    /// It could not be done.
    Failed(String),
    /// The machine ended meanwhile.
    Ended(String),
    /// The file is complete, and has this mode.
    Got(u32),
    /// What the lab says of itself.
    Status(crate::Status),
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Exited {
    Code(i32),
    Signal(i32),
    TimedOut,
}

pub(crate) fn send(stream: &mut impl Write, kind: Kind, content: &[u8]) -> io::Result<()> {
    let (_, byte) = KINDS.iter().find(|(known, _)| *known == kind).copied().unwrap_or(KINDS[0]);
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(content.len() + 5);
    frame.push(byte);
    frame.extend(length.to_le_bytes());
    frame.extend(content);
    stream.write_all(&frame)
}

pub(crate) fn send_message(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    send(stream, Kind::Message, &serde_json::to_vec(message)?)
}

/// The next frame; `None` at the end of the stream.
pub(crate) fn receive(stream: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut kind = [0];
    if stream.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    let known = KINDS.iter().find(|(_, byte)| *byte == kind[0]);
    let Some((kind, _)) = known.filter(|_| length <= 16 * FRAME_BYTES) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not how a lab speaks"));
    };
    let mut content = vec![0; length];
    stream.read_exact(&mut content)?;
    Ok(Some((*kind, content)))
}

pub(crate) fn parse<T: DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(content)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let mut stream = Vec::new();
        let request = Request::Put { path: "/a".into(), mode: 0o644, size_bytes: 3 };
        send_message(&mut stream, &request).unwrap();
        for (kind, _) in KINDS {
            send(&mut stream, kind, b"abc").unwrap();
        }
        let mut stream = stream.as_slice();
        let (kind, content) = receive(&mut stream).unwrap().unwrap();
        assert_eq!((kind, parse::<Request>(&content).unwrap()), (Kind::Message, request));
        for (kind, _) in KINDS {
            assert_eq!(receive(&mut stream).unwrap(), Some((kind, b"abc".to_vec())));
        }
        assert_eq!(receive(&mut stream).unwrap(), None);
        assert!(receive(&mut b"GET / HTTP/1.1".as_slice()).is_err());
        assert!(receive(&mut b"d\xff\xff".as_slice()).is_err());
    }
}
