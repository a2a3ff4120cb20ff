//! The guest's clocks.

use rustix::time::{ClockId, clock_gettime};
use virtmark_protocol::Clocks;

/// Nanoseconds since the guest's boot.
pub(crate) fn boottime_ns() -> u64 {
    nanoseconds(ClockId::Boottime)
}

/// All clocks, read one after the other.
pub(crate) fn now() -> Clocks {
    Clocks {
        monotonic_ns: nanoseconds(ClockId::Monotonic),
        boottime_ns: boottime_ns(),
        realtime_ns: nanoseconds(ClockId::Realtime),
    }
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Neither part is negative after 1970, and 2^64 ns are 584 years.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
