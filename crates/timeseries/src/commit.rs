//! A record that is replaced as a whole: two places on pages of their own, written in turn, the newer whole one counts.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::bytes::{ByteReader, put_u32, put_u64};
use crate::error::Error;
use crate::layout::PAGE_BYTES;

const MAGIC: [u8; 8] = *b"vmts-rec";
const HEAD_BYTES: usize = 24;
/// Longest contents of a record.
pub(crate) const MAX_CONTENTS_BYTES: usize = 512 - HEAD_BYTES;

/// A record and how often it was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) sequence: u64,
    pub(crate) contents: Vec<u8>,
}

/// Reads the newer whole record; `None` where none was ever written.
pub(crate) fn load(file: &File, path: &Path) -> Result<Option<Commit>, Error> {
    let mut best: Option<Commit> = None;
    let mut damaged = false;
    for place in 0..2 {
        let mut bytes = vec![0; HEAD_BYTES + MAX_CONTENTS_BYTES];
        file.read_exact_at(&mut bytes, place * PAGE_BYTES).map_err(|error| Error::io("read", path, error))?;
        match decode(&bytes) {
            Some(commit) if best.as_ref().is_none_or(|best| best.sequence < commit.sequence) => {
                best = Some(commit);
            }
            Some(_) => {}
            None => damaged |= bytes.iter().any(|byte| *byte != 0),
        }
    }
    if best.is_none() && damaged {
        return Err(Error::damaged(path, "none of its two commit records is whole"));
    }
    Ok(best)
}

/// Puts a record in the place of the older one and waits until it is on disk.
pub(crate) fn save(file: &File, path: &Path, commit: &Commit) -> Result<(), Error> {
    let written =
        file.write_all_at(&encode(commit), commit.sequence % 2 * PAGE_BYTES).and_then(|()| file.sync_data());
    written.map_err(|error| Error::io("write", path, error))
}

/// Magic, checksum of the rest, length, sequence, contents.
pub(crate) fn encode(commit: &Commit) -> Vec<u8> {
    let mut rest = Vec::new();
    put_u32(&mut rest, commit.contents.len() as u32);
    put_u64(&mut rest, commit.sequence);
    rest.extend_from_slice(&commit.contents);
    let mut bytes = Vec::from(MAGIC);
    put_u32(&mut bytes, crc32c::crc32c(&rest));
    bytes.extend_from_slice(&rest);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Commit> {
    let mut reader = ByteReader::new(bytes);
    if reader.array()? != MAGIC {
        return None;
    }
    let sum = reader.u32()?;
    let length = ByteReader::new(&bytes[12..]).u32()? as usize;
    let rest = reader.take(12 + length.min(MAX_CONTENTS_BYTES))?;
    let mut fields = ByteReader::new(&rest[4..]);
    let sequence = fields.u64()?;
    let contents = fields.take(length)?.to_vec();
    (crc32c::crc32c(rest) == sum).then_some(Commit { sequence, contents })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_laid_out_as_documented() {
        let commit = Commit { sequence: 5, contents: b"contents".to_vec() };
        let bytes = encode(&commit);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "766d74732d726563206f71a8080000000500000000000000636f6e74656e7473");
        let mut place = bytes.clone();
        place.resize(512, 0);
        assert_eq!(decode(&place), Some(commit));
        for at in 0..bytes.len() {
            let mut damaged = place.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {at}");
        }
    }
}
