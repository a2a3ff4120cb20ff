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
    let free = bench.told("cat /proc/meminfo").and_then(|text| free_bytes(&text));
    let pair = match (pss, free) {
        (Some(pss), Some(free)) => Ok((pss, memory_bytes.saturating_sub(free))),
        (None, _) => Err("the platform does not tell what its VMM holds"),
        (_, None) => Err("the guest does not tell its free memory"),
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
    let grown = before_bytes.zip(files_bytes(bench)).map(|(before, now)| now.saturating_sub(before));
    let pair = grown
        .map(|grown| (grown, written_bytes))
        .ok_or("the platform does not tell the size of its machines' files");
    keep(STORAGE_METRICS, pair, block, recorder)
}

/// `MemFree` of `/proc/meminfo`: pages that the guest has in no use at all.
fn free_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemFree:"))?;
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
    fn free_memory_is_in_kibibytes() {
        assert_eq!(free_bytes("MemTotal:  240000 kB\nMemFree:   100 kB\n"), Some(102_400));
        assert_eq!(free_bytes("MemFree: 12 MB"), None);
        assert_eq!(free_bytes(""), None);
    }
}
