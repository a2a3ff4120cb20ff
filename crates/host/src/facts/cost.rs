//! What the hypervisor outside took, and what measuring takes.

use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use virtmark_model::HarnessCost;

use crate::source::Source;

/// CPU time since boot that the host's own hypervisor gave to others while the host had work, over all CPUs, in
/// nanoseconds (`steal` of proc_stat(5)). A run takes the difference.
///
/// The kernel counts in ticks, of 10 ms on every common kernel. Zero on bare metal, and where the hypervisor does
/// not tell its guests.
pub fn steal_ns() -> Option<u64> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    cpu_ticks(&Source::new(Path::new("/")))?.steal.checked_mul(1_000_000_000 / ticks_per_second.max(1))
}

/// What virtmark itself has cost so far, its machines not counted.
///
/// CPU time is the process's own clock (`CLOCK_PROCESS_CPUTIME_ID`), the same sum as getrusage(2) gives; the
/// largest resident set is `VmHWM` of proc_pid_status(5), zero where `/proc` is not mounted.
pub fn harness_cost(iterations: u64) -> HarnessCost {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu_ns = u64::try_from(cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec).unwrap_or_default();
    let status = Source::new(Path::new("/")).text("proc/self/status").unwrap_or_default();
    HarnessCost { cpu_ns, max_rss_bytes: high_water_bytes(&status).unwrap_or_default(), iterations }
}

fn high_water_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Time of all CPUs since boot, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    /// Taken by the hypervisor outside.
    pub(crate) steal: u64,
    /// Spent on anything, idling too.
    pub(crate) total: u64,
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal, and guest times that are part of
/// user and nice already.
pub(crate) fn cpu_ticks(source: &Source) -> Option<CpuTicks> {
    let text = source.text("proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    Some(CpuTicks { steal: *fields.get(7)?, total: fields.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_grows_with_work() {
        let before = harness_cost(0);
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let after = harness_cost(7);
        assert!(after.cpu_ns > before.cpu_ns);
        // Not which is larger: the kernel counts pages by CPU, and a mark that was read may be above the next one.
        assert!(before.max_rss_bytes > 100_000 && after.max_rss_bytes > 100_000);
        assert_eq!(after.iterations, 7);
    }

    #[test]
    fn the_clock_of_this_process_is_the_one_that_usage_reads() {
        let (cost, usage) = (harness_cost(0), crate::process::usage(std::process::id() as i32).unwrap());
        let more = usage.cpu_ns - cost.cpu_ns;
        assert!(more < 1_000_000_000, "{more}");
    }

    #[test]
    fn steal_is_the_eighth_time_and_guest_time_is_counted_once() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let stat = root.path().join("proc/stat");
        std::fs::write(&stat, "cpu  1 2 3 4 5 6 7 80 1000 1000\ncpu0 1 2 3 4 5 6 7 80 1000 1000\n").unwrap();
        assert_eq!(cpu_ticks(&Source::new(root.path())), Some(CpuTicks { steal: 80, total: 108 }));
        std::fs::write(&stat, "cpu  1 2 3 4\n").unwrap();
        assert_eq!(cpu_ticks(&Source::new(root.path())), None);
        assert!(steal_ns().is_some());
    }
}
