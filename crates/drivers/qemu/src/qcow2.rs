//! An empty qcow2 image, for what is written over a disk that others read too.
//!
//! The format is QEMU's `docs/interop/qcow2.txt`, version 3. The image names no file below it: QEMU is told at its start
//! what lies there, so that images may be moved.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// log2 of the bytes of a cluster; QEMU's own default.
const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;

/// Bytes of a disk that one entry of the first table stands for: a cluster full of entries of 8 bytes, each a cluster.
const L1_ENTRY_BYTES: u64 = CLUSTER_BYTES / 8 * CLUSTER_BYTES;

/// Most entries of the first table: 32 MiB of them, QEMU's own limit.
const MAX_L1_ENTRIES: u64 = (32 << 20) / 8;

const HEADER_BYTES: u32 = 104;

/// Reference counts have 16 bits, as log2.
const REFCOUNT_ORDER: u32 = 4;

/// Where the parts are: the header, the table of blocks of reference counts, the only such block, the first table.
const REFCOUNT_TABLE_AT: u64 = CLUSTER_BYTES;
const REFCOUNT_BLOCK_AT: u64 = 2 * CLUSTER_BYTES;
const L1_AT: u64 = 3 * CLUSTER_BYTES;

/// Writes into `file`, which is empty, an image of `size_bytes` in which nothing is written yet: what is read comes from
/// below. Takes three blocks on disk.
pub(crate) fn write_empty(file: &File, size_bytes: u64) -> io::Result<()> {
    let l1_entries = size_bytes.div_ceil(L1_ENTRY_BYTES);
    if l1_entries > MAX_L1_ENTRIES {
        let reason = format!("a disk of {size_bytes} bytes is larger than a qcow2 image can be");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let clusters = 3 + (l1_entries * 8).div_ceil(CLUSTER_BYTES);
    // At most 515 clusters: one block counts 32768.
    let refcounts = [0, 1].repeat(clusters as usize);
    // Tables that are zero are holes.
    file.set_len(clusters * CLUSTER_BYTES)?;
    file.write_all_at(&refcounts, REFCOUNT_BLOCK_AT)?;
    file.write_all_at(&REFCOUNT_BLOCK_AT.to_be_bytes(), REFCOUNT_TABLE_AT)?;
    // At most MAX_L1_ENTRIES.
    file.write_all_at(&header(size_bytes, l1_entries as u32), 0)
}

fn header(size_bytes: u64, l1_entries: u32) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES as usize + 8);
    let mut long = |value: u64| header.extend(value.to_be_bytes());
    let pair = |first: u32, second: u32| u64::from(first) << 32 | u64::from(second);
    long(pair(u32::from_be_bytes(*b"QFI\xfb"), 3));
    // No name of a file below.
    long(0);
    long(pair(0, CLUSTER_BITS));
    long(size_bytes);
    // Not encrypted.
    long(pair(0, l1_entries));
    long(L1_AT);
    long(REFCOUNT_TABLE_AT);
    // One cluster of it, and no snapshots within the image.
    long(pair(1, 0));
    long(0);
    // Incompatible, compatible and automatically cleared features.
    long(0);
    long(0);
    long(0);
    long(pair(REFCOUNT_ORDER, HEADER_BYTES));
    // The end of the header's extensions, of which there are none.
    long(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields at the offsets that the format's document gives them.
    #[test]
    fn the_header_is_the_documents() {
        let file = tempfile::tempfile().unwrap();
        write_empty(&file, (1 << 40) + 512).unwrap();
        let at = |offset: u64| {
            let mut word = [0; 4];
            file.read_exact_at(&mut word, offset).unwrap();
            u32::from_be_bytes(word)
        };
        let long = |offset| u64::from(at(offset)) << 32 | u64::from(at(offset + 4));
        assert_eq!((at(0), at(4)), (0x5146_49fb, 3));
        assert_eq!((long(8), at(16), at(20)), (0, 0, 16));
        assert_eq!((long(24), at(32)), ((1 << 40) + 512, 0));
        // 2049 pieces of 512 MiB.
        assert_eq!((at(36), long(40)), (2049, 0x3_0000));
        assert_eq!((long(48), at(56), at(60), long(64)), (0x1_0000, 1, 0, 0));
        assert_eq!((long(72), long(80), long(88)), (0, 0, 0));
        assert_eq!((at(96), at(100), long(104)), (4, 104, 0));
        assert_eq!(long(0x1_0000), 0x2_0000);
        // Four clusters are in use, and the file ends with them.
        assert_eq!((long(0x2_0000), long(0x2_0008)), (0x0001_0001_0001_0001, 0));
        assert_eq!(file.metadata().unwrap().len(), 0x4_0000);
    }

    #[test]
    fn what_no_image_can_hold_is_refused() {
        let file = tempfile::tempfile().unwrap();
        assert!(write_empty(&file, MAX_L1_ENTRIES * L1_ENTRY_BYTES).is_ok());
        assert!(write_empty(&file, MAX_L1_ENTRIES * L1_ENTRY_BYTES + 512).is_err());
    }
}
