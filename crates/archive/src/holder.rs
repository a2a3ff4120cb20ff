//! Who holds the lock of an archive, as the kernel tells it.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Byte of the `-shm` file that a writer in WAL mode locks (SQLite file format, "WAL-index", lock bytes 120–127).
const WAL_WRITE_LOCK_OFFSET: u64 = 120;

/// The process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command name; absent when it is gone already.
    pub command: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            Some(command) => write!(formatter, "process {} ({command})", self.pid),
            None => write!(formatter, "process {}", self.pid),
        }
    }
}

/// The process that keeps others from writing `archive`; `None` where the kernel does not tell.
///
/// Reads `/proc/locks` and no database file: a process that closes any handle of a file loses all its POSIX locks
/// on it, so that asking through a handle of our own would release the locks of our other connections.
pub(crate) fn lock_holder(archive: &Path) -> Option<Holder> {
    let mut shared_memory = archive.as_os_str().to_owned();
    shared_memory.push("-shm");
    let archive = Inode::of(archive);
    let shared_memory = Inode::of(&PathBuf::from(shared_memory));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().filter_map(Lock::parse).find_map(|lock| {
        let excludes_us = Some(&lock.inode) == archive.as_ref()
            || (Some(&lock.inode) == shared_memory.as_ref() && lock.covers(WAL_WRITE_LOCK_OFFSET));
        excludes_us.then_some(lock.pid)
    })?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Some(Holder { pid, command: command.map(|name| name.trim_end().to_owned()) })
}

/// A file, by device and number.
#[derive(Debug, PartialEq, Eq)]
struct Inode {
    major: u32,
    minor: u32,
    number: u64,
}

impl Inode {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            major: rustix::fs::major(metadata.dev()),
            minor: rustix::fs::minor(metadata.dev()),
            number: metadata.ino(),
        })
    }
}

/// An exclusive lock that is held, as a line of `/proc/locks` (proc_locks(5)).
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    pid: u32,
    inode: Inode,
    start: u64,
    /// `None` for the end of the file, wherever that is.
    end: Option<u64>,
}

impl Lock {
    /// `None` for shared locks, for those that wait (`->`), and for those of processes that cannot be seen from here.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, "WRITE", pid, inode, start, end] = fields[..] else { return None };
        let mut inode = inode.split(':');
        Some(Self {
            pid: pid.parse().ok().filter(|pid| *pid != 0)?,
            inode: Inode {
                major: u32::from_str_radix(inode.next()?, 16).ok()?,
                minor: u32::from_str_radix(inode.next()?, 16).ok()?,
                number: inode.next()?.parse().ok()?,
            },
            start: start.parse().ok()?,
            end: end.parse().ok(),
        })
    }

    fn covers(&self, offset: u64) -> bool {
        self.start <= offset && self.end.is_none_or(|end| offset <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_exclusive_locks_are_read_and_others_left_out() {
        let lock = Lock::parse("7: POSIX  ADVISORY  WRITE 11164 fe:00:10010637 120 120").unwrap();
        let inode = Inode { major: 0xfe, minor: 0, number: 10_010_637 };
        assert_eq!(lock, Lock { pid: 11164, inode, start: 120, end: Some(120) });
        assert!(lock.covers(120) && !lock.covers(121));
        assert!(Lock::parse("1: FLOCK  ADVISORY  WRITE 3 00:1a:5 0 EOF").unwrap().covers(1 << 40));
        for line in [
            "1: POSIX  ADVISORY  READ 11164 fe:00:10010637 0 EOF",
            "1: -> POSIX  ADVISORY  WRITE 11164 fe:00:10010637 0 EOF",
            "1: POSIX  ADVISORY  WRITE 0 fe:00:10010637 0 EOF",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:10010637 0 EOF",
            "",
        ] {
            assert_eq!(Lock::parse(line), None, "{line}");
        }
    }
}
