//! Frames: a checked header, then a checked payload. Whatever else is on the line is skipped.

use std::io::{self, Read};

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use thiserror::Error;

use crate::VERSION;

/// The first bytes of every frame. Neither text nor UTF-8 contains them.
pub const MAGIC: [u8; 4] = [0x9e, b'V', b'm', 0xf1];

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 32;

/// Largest payload. A header that announces more is taken for garbage.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// How much room [`Decoder::read_from`] offers to one read.
const READ_BYTES: usize = 64 * 1024;

/// What a frame's header says beside its length and checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the sender. The header's layout is the same in all versions; the payload's is not.
    pub version: u16,
    /// The session it belongs to.
    pub session: u64,
    /// The request it belongs to: chosen by the host, unique within its session, 0 for none.
    pub request: u32,
}

/// A frame that arrived intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Who it is for.
    pub header: Header,
    /// The encoded message.
    pub payload: &'a [u8],
}

/// A message cannot be put into a frame.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The message is not expressible in postcard.
    #[error("cannot encode a message for the guest agent: {0}")]
    Message(#[from] postcard::Error),
    /// The message is larger than a frame can be.
    #[error(
        "cannot send a message of {bytes} bytes to the guest agent: the limit is {MAX_PAYLOAD_BYTES}; pass large data \
         as a file or as standard input"
    )]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
    },
}

/// Appends one frame to `line`, which is left as it was on failure.
pub fn encode<M: Serialize + ?Sized>(
    session: u64,
    request: u32,
    message: &M,
    line: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = line.len();
    line.extend_from_slice(&[0; HEADER_BYTES]);
    let encoded = postcard::serialize_with_flavor(message, Appender(line)).map_err(EncodeError::from);
    let bytes = line.len() - start - HEADER_BYTES;
    let checked = encoded.and(match bytes {
        0..=MAX_PAYLOAD_BYTES => Ok(()),
        _ => Err(EncodeError::TooLarge { bytes }),
    });
    if let Err(error) = checked {
        line.truncate(start);
        return Err(error);
    }
    let (header, payload) = line[start..].split_at_mut(HEADER_BYTES);
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    // At most MAX_PAYLOAD_BYTES, which fits.
    header[8..12].copy_from_slice(&(bytes as u32).to_le_bytes());
    header[12..16].copy_from_slice(&request.to_le_bytes());
    header[16..24].copy_from_slice(&session.to_le_bytes());
    header[24..28].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let header_crc = crc32c::crc32c(&header[..28]);
    header[28..32].copy_from_slice(&header_crc.to_le_bytes());
    Ok(())
}

/// Finds the intact frames in a stream of bytes, however it is cut and whatever lies between them.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    skipped_bytes: u64,
}

impl Decoder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the line.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buffer[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Takes what one read gives, and says how much it was; 0 is the reader's end.
    pub fn read_from(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        self.reserve(READ_BYTES);
        let read = reader.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// The next intact frame, of any version; `None` until more bytes come.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        loop {
            self.skip(bytes_before_magic(self.pending()));
            match examine(self.pending()) {
                Examined::Garbage => self.skip(1),
                Examined::Incomplete { .. } => return None,
                Examined::Intact { header, length } => {
                    let payload = self.start + HEADER_BYTES..self.start + length;
                    self.start += length;
                    return Some(Frame { header, payload: &self.buffer[payload] });
                }
            }
        }
    }

    /// Whether an intact header was seen whose payload is not all there.
    pub fn awaits_payload(&self) -> bool {
        matches!(examine(self.pending()), Examined::Incomplete { header_seen: true })
    }

    /// Gives up the frame whose payload is awaited if an intact frame lies where that payload should be, and says
    /// whether it did. To be called when the line has been silent for a while: a sender that was replaced in the
    /// middle of a frame never finishes it, and what its successor sends must not wait for that.
    pub fn give_up_interrupted(&mut self) -> bool {
        let pending = self.pending();
        let mut at = 1;
        while at < pending.len() {
            at += bytes_before_magic(&pending[at..]);
            match examine(&pending[at..]) {
                Examined::Intact { .. } => {
                    self.skip(at);
                    return true;
                }
                Examined::Garbage | Examined::Incomplete { .. } => at += 1,
            }
        }
        false
    }

    /// Forgets the bytes of a frame that is not complete: the line was cut.
    pub fn reset(&mut self) {
        self.skip(self.end - self.start);
    }

    /// Bytes that belonged to no intact frame, so far.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.skipped_bytes += bytes as u64;
    }

    /// Makes room for `bytes` behind what is pending, moving that to the front when this gives the room.
    fn reserve(&mut self, bytes: usize) {
        if self.start > 0 && (self.start == self.end || self.end + bytes > self.buffer.len()) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end + bytes > self.buffer.len() {
            self.buffer.resize(self.end + bytes, 0);
        }
    }
}

/// What lies at the start of some bytes.
enum Examined {
    Garbage,
    Incomplete { header_seen: bool },
    Intact { header: Header, length: usize },
}

fn examine(bytes: &[u8]) -> Examined {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Examined::Incomplete { header_seen: false };
    };
    let payload_bytes = u32_at(head, 8) as usize;
    if head[..4] != MAGIC
        || u32_at(head, 28) != crc32c::crc32c(&head[..28])
        || payload_bytes > MAX_PAYLOAD_BYTES
    {
        return Examined::Garbage;
    }
    let Some(payload) = rest.get(..payload_bytes) else {
        return Examined::Incomplete { header_seen: true };
    };
    if u32_at(head, 24) != crc32c::crc32c(payload) {
        return Examined::Garbage;
    }
    let session = u64::from(u32_at(head, 16)) | u64::from(u32_at(head, 20)) << 32;
    let header =
        Header { version: u16::from_le_bytes([head[4], head[5]]), session, request: u32_at(head, 12) };
    Examined::Intact { header, length: HEADER_BYTES + payload_bytes }
}

/// How many bytes cannot be the start of a frame, nor the start of a magic that is cut off.
fn bytes_before_magic(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == MAGIC[0]) {
        at += offset;
        let candidate = &bytes[at..];
        if candidate.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic) {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

fn u32_at(head: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// Lets postcard write behind what is already in a vector.
struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
