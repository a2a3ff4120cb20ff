//! Whether the host has what the lab takes.

use std::fs;
use std::path::Path;

use crate::error::io;
use crate::{Error, Result};

const MIB: u64 = 1 << 20;

/// Fails unless so much memory can be had now.
pub(crate) fn memory(wanted_bytes: u64) -> Result<()> {
    let text = fs::read_to_string("/proc/meminfo").map_err(io("read /proc/meminfo"))?;
    // Kernels before 3.14 do not tell; QEMU will.
    let Some(free_bytes) = available(&text) else { return Ok(()) };
    enough(
        "memory".into(),
        wanted_bytes,
        free_bytes,
        "end something, or give the lab less with `virtmark lab up --memory`",
    )
}

/// Fails unless so much can be written at `directory` now.
pub(crate) fn disk(directory: &Path, wanted_bytes: u64) -> Result<()> {
    let at = directory.ancestors().find(|path| path.exists()).unwrap_or(directory);
    let space =
        rustix::fs::statvfs(at).map_err(|error| io(format!("look at {}", at.display()))(error.into()))?;
    let what = format!("disk at {}", at.display());
    let remedy = "make room there, or set VIRTMARK_CACHE to a directory on another disk";
    enough(what, wanted_bytes, space.f_bavail * space.f_frsize, remedy)
}

fn enough(what: String, wanted_bytes: u64, free_bytes: u64, remedy: &'static str) -> Result<()> {
    if wanted_bytes <= free_bytes {
        return Ok(());
    }
    Err(Error::NoRoom { what, wanted_mib: wanted_bytes / MIB, free_mib: free_bytes / MIB, remedy })
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_way_out() {
        let meminfo = "MemTotal:  8 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(meminfo), Some(2 << 20));
        assert_eq!(available("MemTotal: 8 kB\n"), None);
        let error = enough("memory".into(), 3 << 30, 1 << 30, "end something").unwrap_err().to_string();
        assert_eq!(error, "the lab needs 3072 MiB of memory, and 1024 MiB are free: end something");
        assert!(enough("memory".into(), 1, 1, "").is_ok());
        let error = disk(Path::new("/proc/nowhere/deep"), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("disk at /proc") && error.contains("VIRTMARK_CACHE"), "{error}");
    }
}
