//! What a tick every millisecond costs the thread that waits for it, by several ways to wait.
//!
//! `cargo run --release -p virtmark-agent --example ticks -- [SECONDS]`
//!
//! The witness waits in the first of these ways. The last waits for nothing and reads the clock alone, as often as it can.
//! A host that is busy, or a guest itself, counts time that others took as the thread's: so the best 64 ticks in a row are
//! told as well. What of a tick is the timer's is measured by itself: the call that sets one, and the hole that its interrupt
//! makes in a thread which does nothing but read the clock.
#![allow(clippy::print_stdout, reason = "its results are what it prints")]

use std::error::Error;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::thread::{clock_nanosleep_absolute, clock_nanosleep_relative};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

const TICK_NS: u64 = 1_000_000;

/// Ticks in a row of which the best are told.
const ROW: u64 = 64;

/// How a thread waits for the next tick.
enum Way {
    AbsoluteSleep,
    RelativeSleep,
    Timer(OwnedFd),
    ClockAlone,
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let ways = [
        ("absolute sleep", Way::AbsoluteSleep),
        ("relative sleep", Way::RelativeSleep),
        ("timer descriptor", Way::Timer(timer()?)),
        ("the clock alone", Way::ClockAlone),
    ];
    println!("way                 ticks    late  us of CPU a tick  in the best 64  share of a CPU");
    for (name, way) in ways {
        let (mut ticks, mut late) = (0_u64, 0_u64);
        let (started, cpu) = (now(ClockId::Monotonic), now(ClockId::ThreadCPUTime));
        let (mut last, mut row, mut best_ns) = (started, cpu, u64::MAX);
        while last - started < Duration::from_secs(seconds).as_nanos() as u64 {
            way.wait(last)?;
            let now = self::now(ClockId::Monotonic);
            ticks += 1;
            late += u64::from(now - last > 2 * TICK_NS);
            last = now;
            if ticks.is_multiple_of(ROW) {
                let now = self::now(ClockId::ThreadCPUTime);
                best_ns = best_ns.min(now - row);
                row = now;
            }
        }
        let cpu_ns = (now(ClockId::ThreadCPUTime) - cpu) as f64;
        let share = 100.0 * cpu_ns / (last - started) as f64;
        let us = |ns: f64, ticks: u64| ns / 1e3 / ticks as f64;
        let (mean, best) = (us(cpu_ns, ticks), us(best_ns as f64, ROW));
        println!("{name:16} {ticks:>8} {late:>7} {mean:>17.2} {best:>15.2} {share:>13.2} %");
    }
    let (set_ns, interrupt_ns) = timer_alone()?;
    println!("to set a timer: {:.2} us; its interrupt: {:.2} us (medians)", set_ns / 1e3, interrupt_ns / 1e3);
    Ok(())
}

/// Medians of what it takes to set a timer that is due in less than the kernel's own tick, and of its interrupt.
fn timer_alone() -> rustix::io::Result<(f64, f64)> {
    const AHEAD_NS: u64 = 150_000;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let once = Itimerspec { it_interval: time(0), it_value: time(AHEAD_NS) };
    let (mut sets, mut interrupts) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let before = now(ClockId::Monotonic);
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
        let set = now(ClockId::Monotonic);
        sets.push(set - before);
        let (mut last, mut hole) = (set, 0);
        while last - set < 2 * AHEAD_NS {
            let now = self::now(ClockId::Monotonic);
            hole = hole.max(now - last);
            last = now;
        }
        interrupts.push(hole);
    }
    Ok((median(sets), median(interrupts)))
}

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values[values.len() / 2] as f64
}

impl Way {
    fn wait(&self, last_ns: u64) -> rustix::io::Result<()> {
        match self {
            Self::AbsoluteSleep => {
                clock_nanosleep_absolute(ClockId::Monotonic, &time(last_ns - last_ns % TICK_NS + TICK_NS))
            }
            Self::RelativeSleep => match clock_nanosleep_relative(ClockId::Monotonic, &time(TICK_NS)) {
                rustix::thread::NanosleepRelativeResult::Err(error) => Err(error),
                _ => Ok(()),
            },
            Self::Timer(timer) => rustix::io::read(timer, &mut [0; 8]).map(drop),
            Self::ClockAlone => Ok(()),
        }
    }
}

fn timer() -> rustix::io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let every = Itimerspec { it_interval: time(TICK_NS), it_value: time(TICK_NS) };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
    Ok(timer)
}

fn time(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as _ }
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
