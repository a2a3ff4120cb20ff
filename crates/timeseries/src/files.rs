//! Files of fixed size: made whole or not at all, opened only at their full size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;

use crate::error::Error;
use crate::header::StoreId;
use crate::layout::PAGE_BYTES;
use crate::mapping::Access;

pub(crate) const HEADER: &str = "header";
pub(crate) const CATALOG: &str = "catalog";
pub(crate) const LOCK: &str = "lock";
pub(crate) const TIERS: &str = "tiers";
const HEADER_DRAFT: &str = "header.new";

/// Name of a lane's file.
pub(crate) fn lane_name(lane: u32) -> String {
    format!("lane-{lane}")
}

/// Makes a file of a size with all its blocks allocated, zeros but for its start, and on disk.
///
/// Blocks that are there cannot run out later, when a store to mapped memory could only fail with SIGBUS.
pub(crate) fn make(path: &Path, bytes: u64, start: &[u8]) -> Result<File, Error> {
    let failed = |source: io::Error| Error::io("create", path, source);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(path).map_err(failed)?;
    allocate(&file, bytes).map_err(failed)?;
    file.write_all_at(start, 0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(file)
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // As posix_fallocate does where the file system cannot.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(file, bytes),
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let part = (bytes - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..part as usize], at)?;
        at += part;
    }
    Ok(())
}

/// Puts the header in its place: from then on the directory is a store.
pub(crate) fn publish_header(directory: &Path, bytes: u64, start: &[u8]) -> Result<(), Error> {
    let (draft, path) = (directory.join(HEADER_DRAFT), directory.join(HEADER));
    make(&draft, bytes, start)?;
    fs::rename(&draft, &path).map_err(|error| Error::io("create", &path, error))?;
    let synced = File::open(directory).and_then(|handle| handle.sync_all());
    synced.map_err(|error| Error::io("write to disk", directory, error))
}

/// Removes what a creation that failed has left.
pub(crate) fn remove_remains(directory: &Path, lanes: u32, made_directory: bool) {
    // What cannot be removed does no harm: without a header it is no store, and the next creation overwrites it.
    let fixed = [HEADER_DRAFT, CATALOG, LOCK, TIERS].map(String::from);
    for name in fixed.into_iter().chain((0..lanes).map(lane_name)) {
        let _ = fs::remove_file(directory.join(name));
    }
    if made_directory {
        let _ = fs::remove_dir(directory);
    }
}

/// Opens a file that must have exactly this size.
pub(crate) fn open_sized(path: &Path, bytes: u64, access: Access) -> Result<File, Error> {
    let file = open(path, access)?;
    let found = file.metadata().map_err(|error| Error::io("open", path, error))?.len();
    if found != bytes {
        return Err(Error::damaged(path, format!("it has {found} bytes where {bytes} were written")));
    }
    Ok(file)
}

fn open(path: &Path, access: Access) -> Result<File, Error> {
    let opened = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path);
    opened.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::damaged(path, "the file is missing"),
        _ => Error::io("open", path, error),
    })
}

/// The contents of the header file of a directory.
pub(crate) fn read_header(directory: &Path) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = directory.join(HEADER);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        // Longer than any header, so that a wrong file is not read whole.
        file.take(8 << 20).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => Ok((path, bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Error::NotAStore { path: directory.to_owned() })
        }
        Err(error) => Err(Error::io("open", &path, error)),
    }
}

/// The right to write to a store, as long as it lives: a lock of the kernel's on the file `lock`.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl WriterLock {
    pub(crate) fn take(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(LOCK);
        let file = open_sized(&path, PAGE_BYTES, Access::ReadWrite)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::InUse { path: directory.to_owned(), pid: holder(&file) });
            }
            Err(error) => return Err(Error::io("lock", &path, error)),
        }
        let pid = format!("{:<20}", std::process::id());
        file.write_all_at(pid.as_bytes(), 0).map_err(|error| Error::io("lock", &path, error))?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &File) -> String {
    let mut text = [0; 20];
    let read = file.read_exact_at(&mut text, 0).ok();
    let pid =
        read.and_then(|()| std::str::from_utf8(&text).ok()).and_then(|text| text.trim().parse::<u32>().ok());
    pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

/// A random identity for a new store.
pub(crate) fn new_store_id() -> Result<StoreId, Error> {
    let path = Path::new("/dev/urandom");
    let mut id = StoreId::default();
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut id));
    read.map_err(|error| Error::io("read", path, error))?;
    Ok(id)
}
