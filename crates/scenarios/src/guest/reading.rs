//! What a machine holds on the host, beside what its guest has of it.

use std::time::Instant;

use virtmark_model::{Outcome, Unit};

use super::side::Bench;
use crate::Result;
use crate::recorder::Recorder;

/// Memory of the VMM in proportional shares, what the guest uses of its own, and the difference.
pub(super) const MEMORY_METRICS: [&str; 3] =
    ["memory_vmm_bytes", "memory_guest_bytes", "memory_overhead_bytes"];
/// Bytes that the machine's files have grown by, what the guest has written, and the difference.
pub(super) const STORAGE_METRICS: [&str; 3] =
    ["storage_files_bytes", "storage_guest_bytes", "storage_overhead_bytes"];

/// Keeps what the VMM holds of memory beyond what its guest uses.
pub(super) fn memory(
    bench: &Bench<'_>,
    memory_bytes: u64,
    block: u32,
    recorder: &Recorder<'_>,
) -> Result<()> {
    let pss = bench.machine.usage().ok().and_then(|usage| usage.pss_bytes);
    let text = bench.told("cat /proc/meminfo").unwrap_or_default();
    let pair = match (pss, bytes_of(&text, "MemTotal:"), bytes_of(&text, "MemFree:")) {
        (None, ..) => Err("the platform does not tell what its VMM holds"),
        // The bare host in the place of a guest.
        (_, Some(total), _) if total > memory_bytes => Err("the tools do not run in the memory of a machine"),
        (Some(pss), Some(_), Some(free)) => Ok((pss, memory_bytes.saturating_sub(free))),
        _ => Err("the guest does not tell its free memory"),
    };
    keep(MEMORY_METRICS, pair, block, recorder)
}

/// Bytes of the machine's files, before the guest has written anything to measure by.
pub(super) fn files_bytes(bench: &Bench<'_>) -> Option<u64> {
    bench.machine.usage().ok()?.disk_bytes
}

/// Keeps what the machine's files have grown by beyond what its guest has written.
pub(super) fn storage(
    bench: &Bench<'_>,
    before_bytes: Option<u64>,
    written_bytes: u64,
    block: u32,
    recorder: &Recorder<'_>,
) -> Result<()> {
    let is_disk = bench.target.as_ref().is_some_and(|target| target.is_device);
    let grown = before_bytes.zip(files_bytes(bench)).map(|(before, now)| now.saturating_sub(before));
    let pair = match grown {
        _ if !is_disk => Err("the machine has no disk of its own"),
        Some(grown) => Ok((grown, written_bytes)),
        None => Err("the platform does not tell the size of its machines' files"),
    };
    keep(STORAGE_METRICS, pair, block, recorder)
}

/// A line of `/proc/meminfo`. `MemFree` is pages that are in no use at all.
fn bytes_of(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn keep(
    metrics: [&'static str; 3],
    pair: Result<(u64, u64), &'static str>,
    block: u32,
    recorder: &Recorder<'_>,
) -> Result<()> {
    let started = Instant::now();
    let labels = || [("block".to_owned(), block.to_string()), ("side".to_owned(), "guest".to_owned())].into();
    let values = pair.map(|(held, used)| [held as f64, used as f64, held as f64 - used as f64]);
    for (at, metric) in metrics.into_iter().enumerate() {
        let outcome = match &values {
            Ok(values) => Outcome::Success { value: values[at] },
            Err(reason) => Outcome::Skipped { reason: (*reason).into() },
        };
        recorder.keep(metric, Unit::Bytes, started, outcome, Vec::new(), labels())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_memory_are_in_kibibytes() {
        let text = "MemTotal:  240000 kB\nMemFree:   100 kB\n";
        assert_eq!(bytes_of(text, "MemFree:"), Some(102_400));
        assert_eq!(bytes_of(text, "MemTotal:"), Some(245_760_000));
        assert_eq!(bytes_of("MemFree: 12 MB", "MemFree:"), None);
        assert_eq!(bytes_of("", "MemFree:"), None);
    }
}
