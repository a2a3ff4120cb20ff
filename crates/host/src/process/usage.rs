use std::fs;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessUsage {
    /// CPU time of all its threads, ended ones too, user and system, in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory, shared pages counted in full, in bytes.
    pub rss_bytes: u64,
    /// Resident memory with shared pages divided among their users, in bytes; absent where the kernel does not let
    /// this user see it.
    pub pss_bytes: Option<u64>,
    /// Written pages that no other process maps, in bytes; absent where `pss_bytes` is.
    pub private_bytes: Option<u64>,
}

/// What a process has used; `None` when there is no such process.
///
/// CPU time is the process's CPU clock (clock_getcpuclockid(3)), which counts in nanoseconds, up to the call also
/// for threads that run at that moment, and keeps the time of threads that have ended. `/proc/PID/stat` has the
/// same sum in ticks of 10 ms; `/proc/PID/task/*/schedstat` has nanoseconds but loses threads when they end.
///
/// Memory is from `/proc/PID/smaps_rollup`. Reading it walks the page tables under the process's memory lock:
/// a few milliseconds per GiB of resident memory, so it belongs between iterations and not inside one. Where it
/// is not readable, resident memory is from `statm`.
pub fn usage(pid: i32) -> Option<ProcessUsage> {
    let cpu_ns = cpu_clock_ns(pid)?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let rss_bytes = match rollup_bytes(&rollup, "Rss:") {
        Some(bytes) => bytes,
        None => statm_resident_bytes(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?)?,
    };
    Some(ProcessUsage {
        cpu_ns,
        rss_bytes,
        pss_bytes: rollup_bytes(&rollup, "Pss:"),
        private_bytes: rollup_bytes(&rollup, "Private_Dirty:"),
    })
}

#[allow(unsafe_code)]
fn cpu_clock_ns(pid: i32) -> Option<u64> {
    let mut clock = 0;
    // SAFETY: `clock` is a valid place for a clock id for the length of the call.
    if unsafe { libc::clock_getcpuclockid(pid, &mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for a timespec for the length of the call; an unknown clock is an error code.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return None;
    }
    u64::try_from(time.tv_sec)
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(u64::try_from(time.tv_nsec).ok()?)
}

fn rollup_bytes(rollup: &str, key: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn statm_resident_bytes(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollup_is_read_by_whole_keys() {
        let rollup =
            "7f00-7fff ---p 00000000 00:00 0 [rollup]\nRss:   12 kB\nPss:    5 kB\nPss_Dirty: 4 kB\n";
        assert_eq!(rollup_bytes(rollup, "Rss:"), Some(12 * 1024));
        assert_eq!(rollup_bytes(rollup, "Pss:"), Some(5 * 1024));
        assert_eq!(rollup_bytes(rollup, "Swap:"), None);
    }

    #[test]
    fn own_cpu_time_grows_with_work_and_counts_ended_threads() {
        let me = std::process::id() as i32;
        let before = usage(me).unwrap();
        std::thread::spawn(|| {
            let started = std::time::Instant::now();
            while started.elapsed() < std::time::Duration::from_millis(30) {
                std::hint::spin_loop();
            }
        })
        .join()
        .unwrap();
        let after = usage(me).unwrap();
        assert!(after.cpu_ns > before.cpu_ns + 1_000_000, "{before:?} {after:?}");
        assert!(after.rss_bytes > 100_000);
        assert!(after.pss_bytes.is_some_and(|pss| pss <= after.rss_bytes));
        assert!(after.private_bytes.is_some_and(|private| 0 < private && private <= after.rss_bytes));
    }

    #[test]
    fn what_does_not_run_has_used_nothing() {
        assert_eq!(usage(i32::MAX), None);
    }
}
