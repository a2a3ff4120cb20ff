//! The `header` file, written once at creation, and the first page of every mapped file.

use std::path::Path;
use std::time::Duration;

use crate::bytes::{ByteReader, put_u32, put_u64};
use crate::error::Error;
use crate::layout::PAGE_BYTES;
use crate::options::{MAX_SCHEMAS, MAX_TIERS, Schema, StoreOptions, Tier};
use crate::summary::Width;

/// Version of the format of all files.
pub const FORMAT_VERSION: u32 = 1;

const HEADER_MAGIC: [u8; 8] = *b"vmts-hdr";
const PAGE_MAGIC: [u8; 8] = *b"vmts-map";
/// Magic, version, checksum, store, number of the file.
const PAGE_USED: usize = 36;
const CHECKSUM_AT: usize = 12;

/// 16 random bytes that tell stores apart.
pub(crate) type StoreId = [u8; 16];

pub(crate) struct Header {
    pub(crate) store: StoreId,
    pub(crate) options: StoreOptions,
}

/// Length of the encoded header, before padding to pages.
pub(crate) fn encoded_bytes(options: &StoreOptions) -> usize {
    encode(&[0; 16], options).len()
}

/// Magic, version, checksum of what follows, length, then the contents.
pub(crate) fn encode(store: &StoreId, options: &StoreOptions) -> Vec<u8> {
    let mut bytes = Vec::from(HEADER_MAGIC);
    put_u32(&mut bytes, FORMAT_VERSION);
    put_u32(&mut bytes, 0);
    put_u32(&mut bytes, 0);
    bytes.extend_from_slice(store);
    put_u32(&mut bytes, options.lanes);
    put_u64(&mut bytes, options.horizon_ns);
    put_u64(&mut bytes, options.catalog_bytes);
    put_u32(&mut bytes, options.schemas.len() as u32);
    for schema in &options.schemas {
        for text in [schema.name.clone(), schema.matcher.to_string()] {
            put_u32(&mut bytes, text.len() as u32);
            bytes.extend_from_slice(text.as_bytes());
        }
        put_u32(&mut bytes, schema.max_series);
        put_u32(&mut bytes, schema.tiers.len() as u32);
        for tier in &schema.tiers {
            put_u64(&mut bytes, tier.step_ns);
            put_u32(&mut bytes, tier.slots);
            put_u32(&mut bytes, if tier.width == Width::Narrow { 1 } else { 0 });
        }
    }
    let length = bytes.len() as u32;
    bytes[16..20].copy_from_slice(&length.to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Reads a header; `path` is for messages.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Header, Error> {
    check_start(bytes, HEADER_MAGIC, path)?;
    let mut reader = ByteReader::new(&bytes[16.min(bytes.len())..]);
    let truncated = || Error::damaged(path, "it ends in the middle of the header");
    let length = reader.u32().ok_or_else(truncated)? as usize;
    let used = bytes.get(..length).filter(|used| used.len() >= 20).ok_or_else(truncated)?;
    check_sum(used, path)?;
    let mut reader = ByteReader::new(&used[20..]);
    let contents = read_contents(&mut reader).filter(|_| reader.is_empty());
    let (store, options) = contents.ok_or_else(|| Error::damaged(path, "its schemas cannot be read"))?;
    let options = options.checked().map_err(|why| Error::damaged(path, why.to_string()))?;
    Ok(Header { store, options })
}

fn read_contents(reader: &mut ByteReader<'_>) -> Option<(StoreId, StoreOptions)> {
    let store = reader.array()?;
    let lanes = reader.u32()?;
    let horizon_ns = reader.u64()?;
    let catalog_bytes = reader.u64()?;
    let count = reader.u32()? as usize;
    if count > MAX_SCHEMAS {
        return None;
    }
    let mut schemas = Vec::new();
    for _ in 0..count {
        let name = reader.text()?.to_owned();
        let matcher = reader.text()?.parse().ok()?;
        let max_series = reader.u32()?;
        let count = reader.u32()? as usize;
        if count > MAX_TIERS {
            return None;
        }
        let mut tiers = Vec::new();
        for _ in 0..count {
            let step = Duration::from_nanos(reader.u64()?);
            let slots = reader.u32()?;
            tiers.push(match reader.u32()? {
                0 => Tier::wide(step, slots),
                1 => Tier::narrow(step, slots),
                _ => return None,
            });
        }
        schemas.push(Schema { name, matcher, tiers, max_series });
    }
    Some((store, StoreOptions { schemas, lanes, horizon_ns, catalog_bytes }))
}

/// Number of the tiers file in the first page of a mapped file; lanes have theirs, from 0.
pub(crate) const TIERS_NUMBER: u32 = u32::MAX;

/// The unchanging part of the first page of a lane's file or of the tiers file.
pub(crate) fn encode_page(store: &StoreId, number: u32) -> Vec<u8> {
    let mut bytes = Vec::from(PAGE_MAGIC);
    put_u32(&mut bytes, FORMAT_VERSION);
    put_u32(&mut bytes, 0);
    bytes.extend_from_slice(store);
    put_u32(&mut bytes, number);
    seal(&mut bytes);
    bytes
}

/// Checks that a mapped file is the one it should be.
pub(crate) fn check_page(bytes: &[u8], store: &StoreId, number: u32, path: &Path) -> Result<(), Error> {
    check_start(bytes, PAGE_MAGIC, path)?;
    let used = bytes
        .get(..PAGE_USED)
        .ok_or_else(|| Error::damaged(path, format!("it is shorter than a page of {PAGE_BYTES} bytes")))?;
    check_sum(used, path)?;
    if used != encode_page(store, number) {
        return Err(Error::damaged(path, "it belongs to another store or to another place in this one"));
    }
    Ok(())
}

fn check_start(bytes: &[u8], magic: [u8; 8], path: &Path) -> Result<(), Error> {
    let mut reader = ByteReader::new(bytes);
    if reader.array() != Some(magic) {
        return Err(Error::damaged(path, "it does not start as a file of a time-series store does"));
    }
    match reader.u32() {
        Some(FORMAT_VERSION) => Ok(()),
        Some(found) if found > FORMAT_VERSION => {
            Err(Error::NewerVersion { path: path.to_owned(), found, supported: FORMAT_VERSION })
        }
        _ => Err(Error::damaged(path, "it has no format version")),
    }
}

/// The checksum covers everything but itself.
fn sum_of(used: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&used[..CHECKSUM_AT]), &used[CHECKSUM_AT + 4..])
}

fn seal(bytes: &mut [u8]) {
    let sum = sum_of(bytes);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
}

fn check_sum(used: &[u8], path: &Path) -> Result<(), Error> {
    if used[CHECKSUM_AT..CHECKSUM_AT + 4] != sum_of(used).to_le_bytes() {
        return Err(Error::damaged(path, "the checksum of its header does not match"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = *b"0123456789abcdef";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The table of the header in `docs/timeseries.md`, byte by byte.
    #[test]
    fn the_header_is_laid_out_as_documented() {
        let schema = Schema::new("vm", 30).matching("{a=b}".parse().unwrap());
        let tiers =
            vec![Tier::wide(Duration::from_secs(1), 600), Tier::narrow(Duration::from_secs(10), 2160)];
        let options = StoreOptions::new(vec![schema.with_tiers(tiers)]).unwrap();
        let bytes = encode(&STORE, &options);
        let parts = [
            "766d74732d686472",                 // vmts-hdr
            "01000000",                         // version
            "a92b32a4",                         // checksum
            "75000000",                         // length
            "30313233343536373839616263646566", // store
            "01000000",                         // lanes
            "00b864d945000000",                 // horizon: 300 s
            "0078010000000000",                 // catalog: 94 KiB
            "01000000",                         // schemas
            "02000000766d",                     // vm
            "070000007b613d2262227d",           // {a="b"}
            "1e00000002000000",                 // series, tiers
            "00ca9a3b000000005802000000000000", // 1 s, 600, wide
            "00e40b54020000007008000001000000", // 10 s, 2160, narrow
        ];
        assert_eq!(hex(&bytes), parts.concat());
        let read = decode(&bytes, Path::new("header")).unwrap();
        assert_eq!((read.store, read.options), (STORE, options));
    }

    #[test]
    fn the_first_page_of_a_lane_is_laid_out_as_documented() {
        let bytes = encode_page(&STORE, 3);
        let parts =
            ["766d74732d6d6170", "01000000", "ce03c363", "30313233343536373839616263646566", "03000000"];
        assert_eq!(hex(&bytes), parts.concat());
        check_page(&bytes, &STORE, 3, Path::new("lane-3")).unwrap();
        assert!(check_page(&bytes, &STORE, 2, Path::new("lane-2")).is_err());
    }
}
