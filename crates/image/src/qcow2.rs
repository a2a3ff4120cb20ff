//! Disk images in QEMU's format qcow2: empty ones, for what is written over a disk that others read too, and ones that
//! hold a disk's content without its holes.
//!
//! The format is QEMU's `docs/interop/qcow2.txt`, version 3. The images name no file below them: QEMU is told at its start
//! what lies there, so that images may be moved.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

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

/// Reference counts in a block of them, which is a cluster.
const BLOCK_REFCOUNTS: u64 = CLUSTER_BYTES / 2;

/// Marks an entry of a table whose cluster nobody else uses.
const COPIED: u64 = 1 << 63;

/// Where the parts of an empty image are: the header, the table of blocks of reference counts, the only such block, the
/// first table.
const REFCOUNT_TABLE_AT: u64 = CLUSTER_BYTES;
const REFCOUNT_BLOCK_AT: u64 = 2 * CLUSTER_BYTES;
const L1_AT: u64 = 3 * CLUSTER_BYTES;

/// Writes into `file`, which is empty, an image of `size_bytes` in which nothing is written yet: what is read comes from
/// below. Takes three blocks on disk. Fails for a disk that is larger than the format permits, or when writing does.
pub fn write_empty(file: &File, size_bytes: u64) -> io::Result<()> {
    let l1_entries = l1_entries(size_bytes)?;
    let clusters = 3 + (l1_entries * 8).div_ceil(CLUSTER_BYTES);
    // At most 515 clusters: one block counts 32768.
    let refcounts = [0, 1].repeat(clusters as usize);
    // Tables that are zero are holes.
    file.set_len(clusters * CLUSTER_BYTES)?;
    file.write_all_at(&refcounts, REFCOUNT_BLOCK_AT)?;
    file.write_all_at(&REFCOUNT_BLOCK_AT.to_be_bytes(), REFCOUNT_TABLE_AT)?;
    // At most MAX_L1_ENTRIES.
    let places = Places { l1: L1_AT, refcount_table: REFCOUNT_TABLE_AT, refcount_table_clusters: 1 };
    file.write_all_at(&header(size_bytes, l1_entries as u32, &places), 0)
}

/// Writes into `file`, which is empty, an image of the disk `raw`. Clusters of zeros are left out; the same content gives
/// the same bytes. Fails for a disk that is larger than the format permits, or when reading or writing does.
pub fn write_copy(raw: &File, file: &File) -> io::Result<()> {
    let size_bytes = raw.metadata()?.len();
    let l1_entries = l1_entries(size_bytes)?;
    let data = data_clusters(raw, size_bytes)?;
    let l2_entries = CLUSTER_BYTES / 8;
    let mut l2_tables: Vec<u64> = data.iter().map(|cluster| cluster / l2_entries).collect();
    l2_tables.dedup();
    // In this order: header, first table, second tables, data, reference counts.
    let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER_BYTES);
    let first_l2 = 1 + l1_clusters;
    let first_data = first_l2 + l2_tables.len() as u64;
    let counted = first_data + data.len() as u64;
    let (blocks, table_clusters) = refcount_clusters(counted);
    let clusters = counted + blocks + table_clusters;

    let mut l1 = vec![0; l1_entries as usize];
    let mut l2 = vec![0; l2_tables.len() * l2_entries as usize];
    for (number, table) in (0..).zip(&l2_tables) {
        l1[*table as usize] = ((first_l2 + number) * CLUSTER_BYTES) | COPIED;
    }
    let mut buffer = vec![0; CLUSTER_BYTES as usize];
    let mut table = 0;
    for (number, cluster) in (first_data..).zip(&data) {
        while l2_tables[table] != cluster / l2_entries {
            table += 1;
        }
        l2[table * l2_entries as usize + (cluster % l2_entries) as usize] = (number * CLUSTER_BYTES) | COPIED;
        read_cluster(raw, *cluster, size_bytes, &mut buffer)?;
        file.write_all_at(&buffer, number * CLUSTER_BYTES)?;
    }
    let blocks_at = counted * CLUSTER_BYTES;
    let table_at = (counted + blocks) * CLUSTER_BYTES;
    let table: Vec<u64> = (0..blocks).map(|block| blocks_at + block * CLUSTER_BYTES).collect();
    file.set_len(clusters * CLUSTER_BYTES)?;
    file.write_all_at(&big_endian(&l1), CLUSTER_BYTES)?;
    file.write_all_at(&big_endian(&l2), first_l2 * CLUSTER_BYTES)?;
    file.write_all_at(&[0, 1].repeat(clusters as usize), blocks_at)?;
    file.write_all_at(&big_endian(&table), table_at)?;
    // At most 512: the table of a disk of 2 EiB.
    let refcount_table_clusters = table_clusters as u32;
    let places = Places { l1: CLUSTER_BYTES, refcount_table: table_at, refcount_table_clusters };
    // At most MAX_L1_ENTRIES.
    file.write_all_at(&header(size_bytes, l1_entries as u32, &places), 0)
}

/// Entries of the first table of a disk of this size.
fn l1_entries(size_bytes: u64) -> io::Result<u64> {
    let entries = size_bytes.div_ceil(L1_ENTRY_BYTES);
    if entries > MAX_L1_ENTRIES {
        let reason = format!("a disk of {size_bytes} bytes is larger than a qcow2 image can be");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(entries)
}

/// The clusters of a disk in which not every byte is zero.
fn data_clusters(raw: &File, size_bytes: u64) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    let mut buffer = vec![0; CLUSTER_BYTES as usize];
    let mut position = 0;
    while position < size_bytes {
        position = match rustix::fs::seek(raw, SeekFrom::Data(position)) {
            Ok(data) => data / CLUSTER_BYTES * CLUSTER_BYTES,
            // No data behind this position.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let cluster = position / CLUSTER_BYTES;
        read_cluster(raw, cluster, size_bytes, &mut buffer)?;
        if buffer.iter().any(|byte| *byte != 0) {
            found.push(cluster);
        }
        position += CLUSTER_BYTES;
    }
    Ok(found)
}

/// Reads a cluster; behind the end of the disk there are zeros.
fn read_cluster(raw: &File, cluster: u64, size_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
    let start = cluster * CLUSTER_BYTES;
    let (inside, behind) = buffer.split_at_mut((size_bytes - start).min(CLUSTER_BYTES) as usize);
    behind.fill(0);
    raw.read_exact_at(inside, start)
}

/// How many clusters the reference counts of `counted` clusters and of their own take: blocks, and the table of these.
fn refcount_clusters(counted: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (0, 0);
    loop {
        let needed = (counted + blocks + table).div_ceil(BLOCK_REFCOUNTS);
        if needed == blocks {
            return (blocks, table);
        }
        blocks = needed;
        table = (blocks * 8).div_ceil(CLUSTER_BYTES);
    }
}

fn big_endian(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Where an image has its parts.
struct Places {
    l1: u64,
    refcount_table: u64,
    refcount_table_clusters: u32,
}

fn header(size_bytes: u64, l1_entries: u32, places: &Places) -> Vec<u8> {
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
    long(places.l1);
    long(places.refcount_table);
    // No snapshots within the image.
    long(pair(places.refcount_table_clusters, 0));
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

    /// Reads a disk back as the format's document says, and counts what is in use.
    fn read_back(file: &File) -> (Vec<u8>, Vec<u64>) {
        let long = |offset: u64| {
            let mut word = [0; 8];
            file.read_exact_at(&mut word, offset).unwrap();
            u64::from_be_bytes(word)
        };
        let (size_bytes, l1_at) = (long(24), long(40));
        let mut disk = vec![0; size_bytes as usize];
        let mut used = vec![0, l1_at / CLUSTER_BYTES];
        for cluster in 0..size_bytes.div_ceil(CLUSTER_BYTES) {
            let l2_at = long(l1_at + cluster / 8192 * 8) & !COPIED;
            if l2_at == 0 {
                continue;
            }
            used.push(l2_at / CLUSTER_BYTES);
            let data_at = long(l2_at + cluster % 8192 * 8) & !COPIED;
            if data_at == 0 {
                continue;
            }
            used.push(data_at / CLUSTER_BYTES);
            let start = (cluster * CLUSTER_BYTES) as usize;
            let end = (start + CLUSTER_BYTES as usize).min(disk.len());
            file.read_exact_at(&mut disk[start..end], data_at).unwrap();
        }
        let refcount_table = long(48);
        let blocks = (0..).map(|entry| long(refcount_table + entry * 8)).take_while(|block| *block != 0);
        let blocks: Vec<u64> = blocks.take(8).collect();
        used.extend(blocks.iter().map(|block| block / CLUSTER_BYTES));
        used.push(refcount_table / CLUSTER_BYTES);
        used.sort_unstable();
        used.dedup();
        for (number, block) in blocks.iter().enumerate() {
            let mut counts = vec![0; CLUSTER_BYTES as usize];
            file.read_exact_at(&mut counts, *block).unwrap();
            for (place, count) in counts.chunks(2).enumerate() {
                let cluster = (number * BLOCK_REFCOUNTS as usize + place) as u64;
                assert_eq!(count == [0, 1], used.contains(&cluster), "cluster {cluster} counts {count:?}");
            }
        }
        (disk, used)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
        #[test]
        fn a_disk_is_read_back_as_it_was(
            size in 1_u64..4_000_000,
            writes in proptest::collection::vec((0_u64..4_000_000, 1_usize..70_000, 0_u8..4), 0..6),
        ) {
            let raw = tempfile::tempfile().unwrap();
            let mut expected = vec![0; size as usize];
            raw.set_len(size).unwrap();
            for (at, length, byte) in writes {
                let at = (at % size) as usize;
                let end = (at + length).min(expected.len());
                expected[at..end].fill(byte);
                raw.write_all_at(&expected[at..end], at as u64).unwrap();
            }
            let file = tempfile::tempfile().unwrap();
            write_copy(&raw, &file).unwrap();
            let (disk, used) = read_back(&file);
            assert!(disk == expected, "content differs");
            assert_eq!(used.len() as u64 * CLUSTER_BYTES, file.metadata().unwrap().len());
        }
    }

    #[test]
    fn disks_of_many_tables_are_read_back() {
        let raw = tempfile::tempfile().unwrap();
        raw.set_len(3 * L1_ENTRY_BYTES + 100).unwrap();
        for at in [0, L1_ENTRY_BYTES - 1, 3 * L1_ENTRY_BYTES + 99] {
            raw.write_all_at(b"x", at).unwrap();
        }
        let file = tempfile::tempfile().unwrap();
        write_copy(&raw, &file).unwrap();
        // Header, first table, two second tables, three clusters of data, a block of counts and the table of it.
        assert_eq!(file.metadata().unwrap().len(), 9 * CLUSTER_BYTES);
        assert_eq!(refcount_clusters(BLOCK_REFCOUNTS - 2), (1, 1));
        assert_eq!(refcount_clusters(BLOCK_REFCOUNTS - 1), (2, 1));
    }
}
