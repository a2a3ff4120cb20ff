//! ext4 file systems made by `mke2fs -d`: no mount, no loop device.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::ImageError;
use crate::debian::{Owners, with_owners};
use crate::error::IoContext;
use crate::tools::run;

/// What a file system is to be like beside the files that it has.
#[derive(Clone, Debug)]
pub(crate) struct Kind<'a> {
    /// Room beside the files themselves, in bytes.
    pub(crate) spare_bytes: u64,
    /// Who owns the files.
    pub(crate) owners: Owners<'a>,
    /// What makes the same files give the same bytes.
    pub(crate) fixed: Option<Fixed>,
}

/// What would otherwise be drawn at random or read from the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// The identifier of the file system, and the seed of its directories' hashes.
    pub(crate) uuid: String,
    /// The time of everything that happened to a file, in seconds since 1970-01-01 UTC; its contents may be older.
    pub(crate) epoch: u32,
}

/// Makes a file with an ext4 file system that has the files of `tree`. Without a journal: a machine that is killed takes
/// what it wrote with it, and one that cannot write needs none.
pub(crate) fn make(tree: &Path, disk: &Path, kind: &Kind<'_>) -> Result<(), ImageError> {
    let bytes = tree_bytes(tree).on("list", tree)?;
    let blocks = (bytes + bytes / 8 + kind.spare_bytes).div_ceil(4096);
    let (mut mke2fs, tool) = with_owners("mke2fs", kind.owners);
    mke2fs.args(["-q", "-t", "ext4", "-b", "4096"]);
    let mut extended = "root_owner=0:0".to_owned();
    let mut features = "^has_journal".to_owned();
    if let Some(Fixed { uuid, epoch }) = &kind.fixed {
        // Checksums would have to be made again when times are changed, and cost an emulated guest dearly. Tables of
        // inodes are written in whole, as a guest would do that in the background, while it is measured.
        features.push_str(",^metadata_csum");
        extended.push_str(&format!(",hash_seed={uuid},lazy_itable_init=0"));
        mke2fs.args(["-m", "0", "-U", uuid]).env("E2FSPROGS_FAKE_TIME", epoch.to_string());
        mke2fs.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    mke2fs.args(["-O", &features, "-E", &extended, "-d"]).arg(tree).arg(disk).arg(blocks.to_string());
    run(&mut mke2fs, tool)?;
    match &kind.fixed {
        Some(fixed) => {
            let file = File::options().read(true).write(true).open(disk).on("open", disk)?;
            settle_times(&file, fixed.epoch).on("write", disk)
        }
        None => Ok(()),
    }
}

/// What the files take in blocks of 4 KiB.
fn tree_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += metadata.len().next_multiple_of(4096);
        if metadata.is_dir() {
            bytes += tree_bytes(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// Where the superblock is, and what is read of it. All of this is `fs/ext4/ext4.h` of Linux.
const SUPERBLOCK_AT: u64 = 1024;
const MAGIC: (usize, u16) = (0x38, 0xef53);
const READ_ONLY_FEATURES: usize = 0x64;
const METADATA_CSUM: u32 = 0x400;
const INCOMPATIBLE_FEATURES: usize = 0x60;
const SIXTY_FOUR_BIT: u32 = 0x80;

/// Where an inode keeps the times of its last use, of its last change, of its making, and their fractions.
const ACCESSED: usize = 0x8;
const CHANGED: usize = 0xc;
const MODIFIED: usize = 0x10;
const CHANGED_EXTRA: usize = 0x84;
const MODIFIED_EXTRA: usize = 0x88;
const ACCESSED_EXTRA: usize = 0x8c;
const CREATED: usize = 0x90;
const CREATED_EXTRA: usize = 0x94;

/// Sets the times that files cannot be given: of the last use and change, and of their making, to `epoch`. Times of
/// contents stay, without fractions, where they are older. For file systems without checksums.
fn settle_times(disk: &File, epoch: u32) -> io::Result<()> {
    let mut superblock = [0; 1024];
    disk.read_exact_at(&mut superblock, SUPERBLOCK_AT)?;
    let magic = u16::from_le_bytes([superblock[MAGIC.0], superblock[MAGIC.0 + 1]]);
    if magic != MAGIC.1 || word(&superblock, READ_ONLY_FEATURES) & METADATA_CSUM != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not an ext4 file system without checksums",
        ));
    }
    let block_bytes = 1024_u64 << word(&superblock, 0x18);
    let inodes_per_group = u64::from(word(&superblock, 0x28));
    let groups = u64::from(word(&superblock, 0x0)) / inodes_per_group;
    let inode_bytes = u64::from(u16::from_le_bytes([superblock[0x58], superblock[0x59]]));
    let is_wide = word(&superblock, INCOMPATIBLE_FEATURES) & SIXTY_FOUR_BIT != 0;
    let descriptor_bytes = match is_wide {
        true => u64::from(u16::from_le_bytes([superblock[0xfe], superblock[0xff]])),
        false => 32,
    };
    // Behind the block that the superblock is in.
    let descriptors_at = (SUPERBLOCK_AT / block_bytes + 1) * block_bytes;
    let mut table = vec![0; (inodes_per_group * inode_bytes) as usize];
    for group in 0..groups {
        let mut descriptor = vec![0; descriptor_bytes as usize];
        disk.read_exact_at(&mut descriptor, descriptors_at + group * descriptor_bytes)?;
        let high = if is_wide { word(&descriptor, 0x28) } else { 0 };
        let table_at = (u64::from(high) << 32 | u64::from(word(&descriptor, 0x8))) * block_bytes;
        disk.read_exact_at(&mut table, table_at)?;
        let mut changed = false;
        for inode in table.chunks_exact_mut(inode_bytes as usize) {
            // Neither a mode nor a time of change: it was never used.
            if inode[..2] == [0, 0] && word(inode, CHANGED) == 0 {
                continue;
            }
            settle_inode(inode, epoch);
            changed = true;
        }
        if changed {
            disk.write_all_at(&table, table_at)?;
        }
    }
    Ok(())
}

fn settle_inode(inode: &mut [u8], epoch: u32) {
    let modified = word(inode, MODIFIED).min(epoch);
    for (place, value) in [(ACCESSED, epoch), (CHANGED, epoch), (MODIFIED, modified)] {
        inode[place..place + 4].copy_from_slice(&value.to_le_bytes());
    }
    // An inode of 128 bytes has no fractions, and does not say when it was made.
    if inode.len() >= CREATED_EXTRA + 4 {
        let later = [
            (CHANGED_EXTRA, 0),
            (MODIFIED_EXTRA, 0),
            (ACCESSED_EXTRA, 0),
            (CREATED, epoch),
            (CREATED_EXTRA, 0),
        ];
        for (place, value) in later {
            inode[place..place + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sha256_file;

    fn has_mke2fs() -> bool {
        let found = run(Command::new("mke2fs").arg("-V"), "mke2fs");
        if let Err(error) = &found {
            eprintln!("skipped: {error}");
        }
        found.is_ok()
    }

    fn made(place: &Path, names: [&str; 3]) -> std::path::PathBuf {
        let tree = place.join("tree");
        fs::create_dir_all(tree.join("deep")).unwrap();
        for name in names {
            let file = File::create(tree.join(name)).unwrap();
            file.write_all_at(name.as_bytes(), 0).unwrap();
            let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_000_000_500);
            file.set_modified(old).unwrap();
        }
        let disk = place.join("disk");
        let uuid = "01234567-89ab-4cde-8f01-23456789abcd".to_owned();
        let fixed = Some(Fixed { uuid, epoch: 1_700_000_000 });
        make(&tree, &disk, &Kind { spare_bytes: 8 << 20, owners: None, fixed }).unwrap();
        disk
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whenever_they_were_made() {
        if !has_mke2fs() {
            return;
        }
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = made(one.path(), ["a", "b", "deep/c"]);
        // Seconds are what such a file system counts.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let second = made(two.path(), ["deep/c", "b", "a"]);
        assert_eq!(sha256_file(&first).unwrap(), sha256_file(&second).unwrap());
        let told = |request: &str| {
            let mut debugfs = Command::new("/sbin/debugfs");
            let output = debugfs.args(["-R", request]).arg(&first).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let stat = told("stat /deep/c");
        assert!(
            stat.contains("ctime: 0x6553f100:00000000") && stat.contains("mtime: 0x000f4240:00000000"),
            "{stat}"
        );
        let checked = Command::new("/sbin/e2fsck").args(["-f", "-n"]).arg(&first).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }

    #[test]
    fn what_is_no_such_file_system_is_left_alone() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        assert!(settle_times(&file, 1).is_err());
    }
}
