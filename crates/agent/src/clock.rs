//! The guest's clocks.

use std::io;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use virtmark_protocol::Clocks;

/// Nanoseconds since the guest's boot.
pub(crate) fn boottime_ns() -> u64 {
    nanoseconds(ClockId::Boottime)
}

/// Nanoseconds of the clock that nobody sets.
pub(crate) fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// CPU time of this thread.
pub(crate) fn thread_cpu_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// All clocks, read one after the other.
pub(crate) fn now() -> Clocks {
    Clocks {
        monotonic_ns: monotonic_ns(),
        boottime_ns: boottime_ns(),
        realtime_ns: nanoseconds(ClockId::Realtime),
    }
}

/// Sets the wall clock. Timers that wait for a time of day are due by the new one; those that wait for a while go on.
pub(crate) fn set_realtime(realtime_ns: u64) -> io::Result<()> {
    // 2^64 ns are 584 years: both parts fit.
    let (seconds, rest) = (realtime_ns / 1_000_000_000, realtime_ns % 1_000_000_000);
    let time = Timespec { tv_sec: seconds as i64, tv_nsec: rest as _ };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither part is negative after 1970, and 2^64 ns are 584 years.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
