//! Memory of the host, and what of it this process may still take.

use std::path::Path;

use crate::facts::Cgroups;
use crate::source::Source;

/// What could be taken without swapping (`MemAvailable`), and within the limits of the own cgroup, in bytes.
pub fn available_bytes() -> Option<u64> {
    available_bytes_in(&Source::new(Path::new("/")))
}

/// The same for a host under another root.
pub(crate) fn available_bytes_in(source: &Source) -> Option<u64> {
    let host = meminfo_bytes(source, "MemAvailable");
    let cgroup = Cgroups::read(source).memory_available_bytes();
    host.into_iter().chain(cgroup).min()
}

/// A line of `/proc/meminfo` that is in kB, in bytes.
pub(crate) fn meminfo_bytes(source: &Source, key: &str) -> Option<u64> {
    meminfo(source, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A line of `/proc/meminfo` that is a plain number.
pub(crate) fn meminfo_number(source: &Source, key: &str) -> Option<u64> {
    meminfo(source, key)?.parse().ok()
}

fn meminfo(source: &Source, key: &str) -> Option<String> {
    let text = source.text("proc/meminfo")?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}
