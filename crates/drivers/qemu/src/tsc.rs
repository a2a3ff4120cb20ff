//! How fast the host's time stamp counter runs.
//!
//! An emulated guest's counter is the host's. The guest calibrates it against an emulated timer, which fails when the
//! host is busy at that moment; its clock then has steps of 4 ms. Told beforehand, it has nothing to calibrate.

use std::arch::x86_64::_rdtsc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long the two readings are apart: with an error of 100 ns in each, the result is right to 10 in a million.
const INTERVAL: Duration = Duration::from_millis(20);
/// Attempts at a reading that nothing interrupts.
const ATTEMPTS: usize = 16;

/// The kernel argument that tells an emulated guest how fast its counter runs. Measured at the first call.
pub(crate) fn kernel_argument() -> Option<&'static str> {
    static ARGUMENT: OnceLock<Option<String>> = OnceLock::new();
    ARGUMENT.get_or_init(|| measure_khz().map(|khz| format!("tsc_early_khz={khz}"))).as_deref()
}

/// Measures the counter against the monotonic clock, in kHz. Takes 20 ms. Absent where the two disagree with anything
/// that a CPU can be.
fn measure_khz() -> Option<u64> {
    let (ticks_before, before) = reading();
    thread::sleep(INTERVAL);
    let (ticks_after, after) = reading();
    let ticks = u128::from(ticks_after.checked_sub(ticks_before)?);
    let elapsed_ns = after.duration_since(before).as_nanos();
    let khz = u64::try_from(ticks * 1_000_000 / elapsed_ns).ok()?;
    (100_000..20_000_000).contains(&khz).then_some(khz)
}

/// The counter and the clock at one moment, as nearly as can be had.
fn reading() -> (u64, Instant) {
    let mut best = None;
    for _ in 0..ATTEMPTS {
        let before = ticks();
        let now = Instant::now();
        let width = ticks().wrapping_sub(before);
        if best.is_none_or(|(least, _, _)| width < least) {
            best = Some((width, before + width / 2, now));
        }
    }
    let (_, ticks, now) = best.expect("there is at least one attempt");
    (ticks, now)
}

#[allow(unsafe_code)]
fn ticks() -> u64 {
    // SAFETY: RDTSC reads a register and exists on every x86_64 CPU. Linux lets user space execute it unless a process
    // asked otherwise for itself (PR_SET_TSC), which this one does not.
    unsafe { _rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_agree() {
        let (first, second) = (measure_khz().unwrap(), measure_khz().unwrap());
        assert!(first.abs_diff(second) * 1000 < first, "{first} and {second} kHz");
    }
}
