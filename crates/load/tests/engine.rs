//! What a run counts, and when, with targets that do as the test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use virtmark_load::{
    Arrivals, CallFailure, Cancel, Ended, Limit, Load, Outcome, Phase, RunError, Target, Worker, run_target,
};

type Call = dyn Fn(u64, &Limit) -> Result<(), CallFailure> + Send + Sync;

/// Each call gets its number, over all workers.
struct Scripted {
    calls: Arc<AtomicU64>,
    call: Arc<Call>,
}

struct ScriptedWorker {
    calls: Arc<AtomicU64>,
    call: Arc<Call>,
}

impl Scripted {
    fn new(call: impl Fn(u64, &Limit) -> Result<(), CallFailure> + Send + Sync + 'static) -> Self {
        Self { calls: Arc::default(), call: Arc::new(call) }
    }
}

impl Target for Scripted {
    fn worker(&self, _: usize) -> Result<Box<dyn Worker>, CallFailure> {
        Ok(Box::new(ScriptedWorker { calls: Arc::clone(&self.calls), call: Arc::clone(&self.call) }))
    }
}

impl Worker for ScriptedWorker {
    fn call(&mut self, limit: &Limit) -> Result<(), CallFailure> {
        (self.call)(self.calls.fetch_add(1, Ordering::Relaxed), limit)
    }
}

fn closed(concurrency: usize, duration_ms: u64) -> Load {
    Load {
        arrivals: Arrivals::Closed { concurrency: NonZeroUsize::new(concurrency).unwrap() },
        warmup_iterations: 0,
        duration: Duration::from_millis(duration_ms),
        request_timeout: Duration::from_secs(10),
        progress_interval: Duration::from_millis(50),
    }
}

fn open(rate_per_s: f64, concurrency: usize, duration_ms: u64) -> Load {
    let concurrency = NonZeroUsize::new(concurrency).unwrap();
    Load { arrivals: Arrivals::Open { rate_per_s, concurrency }, ..closed(1, duration_ms) }
}

fn run(target: &Scripted, load: &Load) -> Outcome {
    run_target(target, load, &mut |_| {}, &Cancel::new()).unwrap()
}

/// As a well-behaved target waits.
fn wait(time: Duration, limit: &Limit) -> Result<(), CallFailure> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if limit.left().is_zero() {
            return Err(CallFailure::timeout("it took too long"));
        }
        thread::sleep(limit.slice().min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

#[test]
fn a_level_lasts_as_long_as_it_should_by_the_clock() {
    let target = Scripted::new(|_, limit| wait(Duration::from_millis(7), limit));
    let started = Instant::now();
    let outcome = run(&target, &closed(2, 300));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!((outcome.ended, outcome.elapsed_ns), (Ended::Completed, 300_000_000));
    assert!((2..=84).contains(&outcome.completed), "{}", outcome.completed);
    assert!(outcome.cut_off <= 2 && outcome.stuck == 0, "{outcome:?}");
    assert_eq!(outcome.latency.count(), outcome.completed);
    assert!(outcome.latency.min_ns().unwrap() >= 7_000_000);
    let overhead_ns = outcome.overhead_ns_per_call.unwrap();
    assert!(overhead_ns > 0.0 && overhead_ns < 50_000.0, "{overhead_ns}");
}

#[test]
fn no_more_calls_are_under_way_than_asked_for() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let target = Scripted::new({
        let most = Arc::clone(&most);
        move |_, limit| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let result = wait(Duration::from_millis(2), limit);
            now.fetch_sub(1, Ordering::SeqCst);
            result
        }
    });
    run(&target, &closed(5, 1000));
    assert_eq!(most.swap(0, Ordering::SeqCst), 5);
    run(&target, &open(100_000.0, 3, 1000));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn errors_are_counted_by_class_and_never_enter_latency() {
    let target = Scripted::new(|number, limit| {
        wait(Duration::from_millis(if number.is_multiple_of(2) { 1 } else { 20 }), limit)?;
        match number % 4 {
            1 => Err(CallFailure::new("odd", format!("call {number} is odd"))),
            3 => Err(CallFailure::new("odder", "x".repeat(10_000))),
            _ => Ok(()),
        }
    });
    let outcome = run(&target, &closed(1, 300));
    assert!(outcome.latency.min_ns().unwrap() < 20_000_000, "{:?}", outcome.latency);
    assert_eq!(outcome.errors["odd"].message, "call 1 is odd");
    assert!(outcome.errors["odder"].message.len() <= 2048);
    let (odd, odder) = (outcome.errors["odd"].count, outcome.errors["odder"].count);
    assert!(odd >= 2 && odd.abs_diff(odder) <= 1, "{odd} {odder}");
    assert_eq!(outcome.failed(), odd + odder);
    assert!(outcome.completed.abs_diff(outcome.failed()) <= 1);
}

#[test]
fn a_call_that_takes_too_long_is_an_error() {
    let target = Scripted::new(|number, limit| {
        // The second does not look at its limit, and is too late all the same.
        if number == 1 {
            thread::sleep(Duration::from_millis(70));
            return Ok(());
        }
        wait(Duration::from_millis(if number == 0 { 5000 } else { 1 }), limit)
    });
    let outcome = run(&target, &Load { request_timeout: Duration::from_millis(50), ..closed(1, 2000) });
    assert!(outcome.errors["timeout"].count >= 2, "{outcome:?}");
    assert!(outcome.completed > 5 && outcome.cut_off <= 1, "{outcome:?}");
    assert!(outcome.latency.max_ns().unwrap() <= 50_000_000);
}

#[test]
fn calls_under_way_at_the_end_are_cut_off_with_their_age() {
    let target = Scripted::new(|_, limit| wait(Duration::from_secs(5), limit));
    let outcome = run(&target, &closed(3, 200));
    assert_eq!((outcome.completed, outcome.failed(), outcome.cut_off, outcome.stuck), (0, 0, 3, 0));
    let age_ns = outcome.oldest_cut_off_ns.unwrap();
    assert!((20_000_000..=200_000_000).contains(&age_ns), "{age_ns}");
}

#[test]
fn a_target_that_hangs_does_not_hold_up_the_end() {
    let target = Scripted::new(|number, _| {
        if number == 10 {
            thread::sleep(Duration::from_secs(30));
        }
        thread::sleep(Duration::from_millis(1));
        Ok(())
    });
    let started = Instant::now();
    let outcome = run(&target, &closed(2, 200));
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(outcome.stuck, 1);
    assert!(outcome.completed > 10, "{}", outcome.completed);
    assert!(outcome.oldest_cut_off_ns.unwrap() > 10_000_000);
}

#[test]
fn a_warm_up_that_hangs_is_told() {
    let target = Scripted::new(|_, _| {
        thread::sleep(Duration::from_secs(30));
        Ok(())
    });
    let load = Load { warmup_iterations: 2, ..closed(2, 100) };
    let error = run_target(&target, &load, &mut |_| {}, &Cancel::new()).unwrap_err();
    assert!(matches!(error, RunError::Hung { workers: 2, .. }), "{error}");
}

#[test]
fn the_warm_up_is_not_in_the_figures() {
    let target = Scripted::new(|number, limit| {
        wait(Duration::from_millis(if number < 10 { 30 } else { 1 }), limit)?;
        if number == 3 { Err(CallFailure::new("cold", "not yet")) } else { Ok(()) }
    });
    let mut phases = Vec::new();
    let load = Load { warmup_iterations: 10, ..closed(2, 2000) };
    let outcome =
        run_target(&target, &load, &mut |progress| phases.push(progress.phase), &Cancel::new()).unwrap();
    assert_eq!((outcome.warmup.completed, outcome.warmup.failed, outcome.warmup.is_whole), (9, 1, true));
    assert!((150_000_000..=2_000_000_000).contains(&outcome.warmup.elapsed_ns), "{:?}", outcome.warmup);
    assert_eq!(outcome.failed(), 0);
    // All that counted took a millisecond.
    assert!(outcome.latency.percentile_ns(50.0).unwrap() < 30_000_000);
    assert!(phases.starts_with(&[Phase::Warmup]) && phases.ends_with(&[Phase::Measure]), "{phases:?}");
}

#[test]
fn a_warm_up_takes_no_longer_than_the_level() {
    let target = Scripted::new(|_, limit| wait(Duration::from_millis(20), limit));
    let started = Instant::now();
    let outcome = run(&target, &Load { warmup_iterations: 1000, ..closed(1, 200) });
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!outcome.warmup.is_whole && outcome.warmup.completed < 11, "{:?}", outcome.warmup);
    assert!(outcome.completed > 0);
}

/// The reason to have an open loop: a closed one would see a single slow call.
#[test]
fn a_stall_of_a_second_shows_in_the_latencies_of_an_open_loop() {
    let stall =
        |number: u64, limit: &Limit| wait(Duration::from_millis(if number == 100 { 1000 } else { 1 }), limit);
    let outcome = run(&Scripted::new(stall), &open(200.0, 1, 3000));
    let figures = outcome.open.as_ref().unwrap();
    assert_eq!(figures.due, 600);
    // 200 calls are due while it stalls, and the first waits for a second.
    let at = |p| Duration::from_nanos(outcome.latency.percentile_ns(p).unwrap());
    assert!(at(99.0) > Duration::from_millis(900), "{:?}", at(99.0));
    assert!(at(100.0) >= Duration::from_millis(1000));
    assert!(at(50.0) < Duration::from_millis(500), "{:?}", at(50.0));
    assert!(figures.late >= 190, "{}", figures.late);
    let slow = |outcome: &Outcome| outcome.latency.percentile_ns(99.0).unwrap() > 100_000_000;
    assert!(slow(&outcome) && !slow(&run(&Scripted::new(stall), &closed(1, 1500))));
}

#[test]
fn an_open_loop_calls_at_its_rate_and_says_how_punctual_it_was() {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let target = Scripted::new({
        let begun = Arc::clone(&begun);
        move |_, _| {
            begun.lock().unwrap().push(Instant::now());
            Ok(())
        }
    });
    let outcome = run(&target, &open(250.0, 4, 1000));
    let figures = outcome.open.unwrap();
    assert_eq!(figures.due, 250);
    assert_eq!(outcome.completed + outcome.cut_off + figures.dropped, 250);
    // A busy host may stop everything for a while; most are made all the same.
    assert!(outcome.completed > 125, "{}", outcome.completed);
    assert_eq!(figures.lag.count() + figures.late, outcome.completed + outcome.cut_off);
    let begun = begun.lock().unwrap();
    let took = begun[begun.len() - 1] - begun[0];
    // Calls at twice the rate would take half of a second.
    assert!(took > Duration::from_millis(600) && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn calls_for_which_there_was_no_time_are_dropped() {
    let target = Scripted::new(|_, limit| wait(Duration::from_millis(10), limit));
    let outcome = run(&target, &open(1000.0, 2, 500));
    let figures = outcome.open.unwrap();
    assert_eq!(figures.due, 500);
    assert_eq!(figures.due, outcome.completed + outcome.cut_off + figures.dropped);
    assert!(figures.dropped >= 400 && figures.late >= 5, "{} {}", figures.dropped, figures.late);
}

#[test]
fn a_run_that_is_told_to_stop_keeps_what_it_has() {
    let cancel = Cancel::new();
    let target = Scripted::new({
        let cancel = cancel.clone();
        move |number, limit| {
            if number == 30 {
                cancel.cancel();
            }
            wait(Duration::from_millis(5), limit)
        }
    });
    let started = Instant::now();
    let outcome = run_target(&target, &closed(1, 60_000), &mut |_| {}, &cancel).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((outcome.ended, outcome.failed()), (Ended::Cancelled, 0));
    assert!((29..=31).contains(&outcome.completed), "{}", outcome.completed);
    assert!(outcome.elapsed_ns >= 150_000_000);
}

#[test]
fn a_worker_that_cannot_be_made_is_told() {
    struct None;
    impl Target for None {
        fn worker(&self, index: usize) -> Result<Box<dyn Worker>, CallFailure> {
            Err(CallFailure::new("no_service", format!("nobody answers worker {index}")))
        }
    }
    let error = run_target(&None, &closed(2, 100), &mut |_| {}, &Cancel::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot prepare the target: nobody answers worker 0");
}

#[test]
fn progress_counts_up() {
    let failing = AtomicBool::new(false);
    let target = Scripted::new(move |_, limit| {
        wait(Duration::from_millis(2), limit)?;
        if failing.fetch_not(Ordering::Relaxed) {
            Err(CallFailure::new("second", "every second"))
        } else {
            Ok(())
        }
    });
    let mut all = Vec::new();
    let outcome =
        run_target(&target, &closed(1, 1500), &mut |progress| all.push(progress), &Cancel::new()).unwrap();
    assert!(all.len() >= 2, "{all:?}");
    assert!(all.is_sorted_by_key(|progress| (progress.elapsed_ns, progress.completed, progress.failed)));
    let last = all[all.len() - 1];
    assert!(last.completed > 0 && last.completed <= outcome.completed && last.failed <= outcome.failed());
}
