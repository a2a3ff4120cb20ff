//! Frames of HTTP/2 (RFC 9113, section 4).

/// What both sides may always send.
pub(crate) const MAX_FRAME_BYTES: usize = 16_384;
const HEADER_BYTES: usize = 9;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame of these bytes, and the rest; none when its end is not there; an error when it is too long.
    pub(crate) fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, &'static str> {
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        if length > MAX_FRAME_BYTES {
            return Err("a frame is longer than it may be");
        }
        let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & 0x7fff_ffff;
        Ok(Some((Self { kind: header[3], flags: header[4], stream, payload }, rest)))
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        // No payload of ours is longer than a frame may be.
        let length = (self.payload.len() as u32).to_be_bytes();
        to.extend_from_slice(&[length[1], length[2], length[3], self.kind, self.flags]);
        to.extend_from_slice(&self.stream.to_be_bytes());
        to.extend_from_slice(self.payload);
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What DATA or HEADERS carry, without padding and priority.
    pub(crate) fn content(&self) -> Result<&'a [u8], &'static str> {
        let short = "a frame is shorter than its flags say";
        let mut content = self.payload;
        if self.has(PADDED) {
            let (padding, rest) = content.split_first().ok_or(short)?;
            content = rest.get(..rest.len().checked_sub(usize::from(*padding)).ok_or(short)?).ok_or(short)?;
        }
        if self.kind == HEADERS && self.has(PRIORITY) {
            content = content.get(5..).ok_or(short)?;
        }
        Ok(content)
    }

    /// The number that is the payload of this frame, or begins it.
    pub(crate) fn number(&self, at: usize) -> Result<u32, &'static str> {
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_be_bytes).ok_or("a frame is too short")
    }
}

/// Settings that matter here, as pairs of number and value.
pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

pub(crate) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).map(|pair| {
        (u16::from_be_bytes([pair[0], pair[1]]), u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]))
    })
}

pub(crate) fn settings_payload(pairs: &[(u16, u32)]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect()
}
