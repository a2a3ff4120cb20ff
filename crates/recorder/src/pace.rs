//! When ticks are due, and which time they bear.
//!
//! Ticks are paced by the monotonic clock. Their times start out as those of the wall clock, whose forward steps they
//! follow; when it is set back they go on as if it had not been, because a store takes nothing that lies behind what it
//! holds. A clock that is slewed moves the monotonic one along, so there is no drift to follow.

use rustix::time::{ClockId, clock_gettime};

/// The wall clock has stepped when it moved against the monotonic one by more than this.
const STEP_NS: i128 = 100_000_000;

/// Both clocks at one moment, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) wall_ns: u64,
    pub(crate) monotonic_ns: u64,
}

impl Clocks {
    pub(crate) fn now() -> Self {
        Self { wall_ns: read(ClockId::Realtime), monotonic_ns: read(ClockId::Monotonic) }
    }
}

/// CPU time of the calling thread, nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    // Of clocks that are set before 1970 nothing can be recorded, and zero is refused as late.
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// The times of ticks.
#[derive(Debug)]
pub(crate) struct Pace {
    interval_ns: u64,
    /// Own time is the monotonic clock and this.
    offset_ns: i128,
    next_ns: u64,
    set_back: bool,
}

/// A tick that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The multiple of the interval that it bears as its time, nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// Ticks before it that were due and are left out, because nobody looked.
    pub(crate) missed: u64,
    pub(crate) step: Option<Step>,
}

/// What was done to the wall clock since the last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was set back by so much, and own time stays ahead of it.
    Back { by_ns: u64 },
    /// It was set forward, or the host slept; own time follows.
    Forward { by_ns: u64 },
}

impl Pace {
    /// The first tick is at the next multiple of the interval.
    pub(crate) fn start(interval_ns: u64, now: Clocks) -> Self {
        let offset_ns = i128::from(now.wall_ns) - i128::from(now.monotonic_ns);
        let next_ns = (now.wall_ns / interval_ns + 1) * interval_ns;
        Self { interval_ns, offset_ns, next_ns, set_back: false }
    }

    /// Own time at a moment.
    pub(crate) fn time_ns(&self, monotonic_ns: u64) -> u64 {
        u64::try_from(i128::from(monotonic_ns) + self.offset_ns).unwrap_or_default()
    }

    /// How long there is no tick, as far as that is known.
    pub(crate) fn wait_ns(&self, monotonic_ns: u64) -> u64 {
        self.next_ns.saturating_sub(self.time_ns(monotonic_ns))
    }

    /// The tick that is due now, if one is.
    pub(crate) fn tick(&mut self, now: Clocks) -> Option<Tick> {
        let step = self.step(now);
        let time_ns = self.time_ns(now.monotonic_ns) / self.interval_ns * self.interval_ns;
        if time_ns < self.next_ns {
            return None;
        }
        let follows = !matches!(step, Some(Step::Forward { .. }));
        let missed = if follows { (time_ns - self.next_ns) / self.interval_ns } else { 0 };
        self.next_ns = time_ns + self.interval_ns;
        Some(Tick { time_ns, missed, step })
    }

    fn step(&mut self, now: Clocks) -> Option<Step> {
        let moved_ns = i128::from(now.wall_ns) - i128::from(now.monotonic_ns) - self.offset_ns;
        let by_ns = u64::try_from(moved_ns.unsigned_abs()).unwrap_or(u64::MAX);
        if moved_ns < -STEP_NS {
            // Told at the first tick after it; looked at between ticks it must not be forgotten.
            let due = self.time_ns(now.monotonic_ns) >= self.next_ns;
            let is_news = due && !self.set_back;
            self.set_back |= due;
            return is_news.then_some(Step::Back { by_ns });
        }
        self.set_back = false;
        if moved_ns <= STEP_NS {
            return None;
        }
        // A step within one interval may bring no tick, and is then followed at the next.
        if self.time_ns(now.monotonic_ns) + by_ns < self.next_ns {
            return None;
        }
        self.offset_ns += moved_ns;
        Some(Step::Forward { by_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(wall_ns: u64, monotonic_ns: u64) -> Clocks {
        Clocks { wall_ns, monotonic_ns }
    }

    #[test]
    fn ticks_are_on_multiples_of_the_wall_clock() {
        let mut pace = Pace::start(SECOND, at(100 * SECOND + 300, 7));
        assert_eq!(pace.wait_ns(7), SECOND - 300);
        assert_eq!(pace.tick(at(101 * SECOND - 1, 6 + SECOND - 300)), None);
        let tick = pace.tick(at(101 * SECOND + 50, 7 + SECOND - 250)).unwrap();
        assert_eq!(tick, Tick { time_ns: 101 * SECOND, missed: 0, step: None });
        assert_eq!(pace.tick(at(101 * SECOND + 60, 7 + SECOND - 240)), None);
        let tick = pace.tick(at(104 * SECOND + 60, 7 + 4 * SECOND - 240)).unwrap();
        assert_eq!(tick, Tick { time_ns: 104 * SECOND, missed: 2, step: None });
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_ticks() {
        let hour = 3600 * SECOND;
        let mut pace = Pace::start(SECOND, at(5 * hour, 0));
        let tick = pace.tick(at(4 * hour + SECOND, SECOND)).unwrap();
        assert_eq!(tick.time_ns, 5 * hour + SECOND);
        assert_eq!(tick.step, Some(Step::Back { by_ns: hour }));
        // Told once; and when it is right again, nothing has happened.
        let tick = pace.tick(at(4 * hour + 2 * SECOND, 2 * SECOND)).unwrap();
        assert_eq!(tick, Tick { time_ns: 5 * hour + 2 * SECOND, missed: 0, step: None });
        let tick = pace.tick(at(5 * hour + 3 * SECOND, 3 * SECOND)).unwrap();
        assert_eq!(tick, Tick { time_ns: 5 * hour + 3 * SECOND, missed: 0, step: None });
    }

    #[test]
    fn a_host_that_slept_goes_on_at_the_time_it_is() {
        let mut pace = Pace::start(SECOND, at(10 * SECOND, 0));
        let tick = pace.tick(at(910 * SECOND + 5, SECOND / 2)).unwrap();
        let step = Some(Step::Forward { by_ns: 900 * SECOND + 5 - SECOND / 2 });
        assert_eq!(tick, Tick { time_ns: 910 * SECOND, missed: 0, step });
        assert_eq!(pace.wait_ns(SECOND / 2), SECOND - 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However late the thread wakes up and whatever is done to the wall clock, times of ticks are multiples of the
        /// interval, go forward, are not ahead of own time, and ticks left out are counted.
        #[test]
        fn ticks_go_forward_whatever_the_clocks_do(
            interval_ms in prop::sample::select(vec![10u64, 100, 250, 1000]),
            moves in prop::collection::vec((1u64..3_000, prop::option::weighted(0.2, -5_000i64..5_000)), 1..60),
        ) {
            let interval_ns = interval_ms * 1_000_000;
            let (mut wall_ns, mut monotonic_ns) = (1_000_000 * SECOND + 1, 17u64);
            let mut pace = Pace::start(interval_ns, at(wall_ns, monotonic_ns));
            let mut next_ns = (wall_ns / interval_ns + 1) * interval_ns;
            for (passed_ms, step_ms) in moves {
                monotonic_ns += passed_ms * 1_000_000;
                wall_ns += passed_ms * 1_000_000;
                wall_ns = wall_ns.saturating_add_signed(step_ms.unwrap_or_default() * 1_000_000);
                let due = pace.wait_ns(monotonic_ns) == 0;
                let Some(tick) = pace.tick(at(wall_ns, monotonic_ns)) else {
                    prop_assert!(!due);
                    continue;
                };
                prop_assert_eq!(tick.time_ns % interval_ns, 0);
                prop_assert!(tick.time_ns >= next_ns);
                if !matches!(tick.step, Some(Step::Forward { .. })) {
                    prop_assert_eq!(tick.missed, (tick.time_ns - next_ns) / interval_ns);
                }
                prop_assert!(tick.time_ns <= pace.time_ns(monotonic_ns));
                prop_assert!(pace.wait_ns(monotonic_ns) > 0);
                next_ns = tick.time_ns + interval_ns;
            }
        }
    }
}
