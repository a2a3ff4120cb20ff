//! Memory that this process may still take.

use std::path::Path;

use crate::source::Source;

/// What the kernel says could be taken without swapping (`MemAvailable`), in bytes.
pub(crate) fn available_bytes(root: &Path) -> Option<u64> {
    meminfo_bytes(&Source::new(root), "MemAvailable")
}

/// A line of `/proc/meminfo` that is in kB, in bytes.
pub(crate) fn meminfo_bytes(source: &Source, key: &str) -> Option<u64> {
    let text = source.text("proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
