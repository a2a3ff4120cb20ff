//! A thread that wakes every millisecond of the guest's monotonic clock and keeps how late it ever was.
//!
//! A hypervisor that stops a guest's clocks with the guest, as QEMU does, keeps the time it stood still from it: what is
//! seen here is what the guest was kept from while its clocks went on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::io::retry_on_intr;
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec};

use crate::clock;

const TICK_NS: u64 = 1_000_000;

/// How often the thread's own CPU time is read.
const COST_EVERY: u64 = 64;

/// What the thread has seen since it was reset.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    ticks: AtomicU64,
    largest_gap_ns: AtomicU64,
    /// Ticks that came more than a whole tick late.
    late: AtomicU64,
    /// Since it was started.
    cpu_ns: AtomicU64,
    elapsed_ns: AtomicU64,
}

impl Ticker {
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let ticker = Arc::new(Self::default());
        thread::Builder::new().name("ticker".into()).spawn({
            let ticker = Arc::clone(&ticker);
            move || ticker.tick()
        })?;
        Ok(ticker)
    }

    fn tick(&self) {
        let started = clock::monotonic_ns();
        let mut last = started;
        loop {
            let due = last - last % TICK_NS + TICK_NS;
            // Both parts fit: a clock that counts from the boot is young.
            let wake = Timespec { tv_sec: (due / 1_000_000_000) as i64, tv_nsec: (due % 1_000_000_000) as _ };
            if retry_on_intr(|| clock_nanosleep_absolute(ClockId::Monotonic, &wake)).is_err() {
                return;
            }
            let now = clock::monotonic_ns();
            let gap = now - last;
            last = now;
            let ticks = self.ticks.fetch_add(1, Ordering::Relaxed);
            self.largest_gap_ns.fetch_max(gap, Ordering::Relaxed);
            if gap > 2 * TICK_NS {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            if ticks.is_multiple_of(COST_EVERY) {
                self.cpu_ns.store(clock::thread_cpu_ns(), Ordering::Relaxed);
                self.elapsed_ns.store(now - started, Ordering::Relaxed);
            }
        }
    }

    /// Forgets what was seen, not what it cost.
    pub(super) fn reset(&self) {
        for value in [&self.ticks, &self.largest_gap_ns, &self.late] {
            value.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn tell(&self) -> String {
        let values = [
            ("ticks", &self.ticks),
            ("largest_gap_ns", &self.largest_gap_ns),
            ("late_ticks", &self.late),
            ("ticker_cpu_ns", &self.cpu_ns),
            ("ticker_elapsed_ns", &self.elapsed_ns),
        ];
        values.iter().map(|(name, value)| format!("{name}={}\n", value.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn value(ticker: &Ticker, name: &str) -> u64 {
        let text = ticker.tell();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
        line.parse().unwrap()
    }

    #[test]
    fn it_ticks_and_forgets() {
        let started = Instant::now();
        let ticker = Ticker::start().unwrap();
        thread::sleep(Duration::from_millis(120));
        let ticks = value(&ticker, "ticks");
        // Fewer on a host that is busy, and never more than milliseconds that began.
        let most = started.elapsed().as_millis() as u64 + 1;
        assert!((2..=most).contains(&ticks), "{ticks} ticks, at most {most}");
        assert!(value(&ticker, "largest_gap_ns") > 0);
        ticker.reset();
        assert!(value(&ticker, "ticks") < ticks);
    }
}
