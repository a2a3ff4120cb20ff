//! Calls a plan a number of times, from a number of callers, and keeps every latency.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use virtmark_stats::percentile;

use crate::executor::{Executor, Scheduler};
use crate::failure::{CallError, FailureClass};
use crate::request::{Request, RequestError};

/// How much to call.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Calls that count, of all callers together.
    pub iterations: NonZeroU64,
    /// Callers at once, each with one call under way.
    pub concurrency: NonZeroUsize,
    /// Calls before those, which do not count.
    pub warmup: u64,
}

/// What was measured: every latency, every failure.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Of each call that succeeded.
    pub latencies_ns: Vec<u64>,
    /// How many calls failed, by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// One message for each class: the first that a caller met.
    pub messages: BTreeMap<FailureClass, String>,
    /// From the first call until the last one ended, without warm-up.
    pub total: Duration,
}

/// Calls the executor until the iterations are done, or `stop` is set. The requests are taken in turn; one that does
/// not fit the plan is a call that failed. An empty list of requests makes no calls.
pub fn bench(
    executor: &Executor,
    requests: &[Result<Request, RequestError>],
    options: &BenchOptions,
    stop: &AtomicBool,
) -> Measured {
    if options.warmup > 0 {
        measure(executor, requests, options.warmup, options.concurrency, stop);
    }
    measure(executor, requests, options.iterations.get(), options.concurrency, stop)
}

fn measure(
    executor: &Executor,
    requests: &[Result<Request, RequestError>],
    iterations: u64,
    concurrency: NonZeroUsize,
    stop: &AtomicBool,
) -> Measured {
    let mut all = Measured::default();
    if requests.is_empty() {
        return all;
    }
    // More callers than calls would only wait.
    let callers = usize::try_from(iterations).unwrap_or(usize::MAX).min(concurrency.get());
    let next = AtomicU64::new(0);
    let start = Barrier::new(callers + 1);
    thread::scope(|scope| {
        let call = || {
            let mut mine = Measured::default();
            start.wait();
            while !stop.load(Ordering::Relaxed) {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= iterations {
                    break;
                }
                mine.call(executor, &requests[(turn % requests.len() as u64) as usize]);
            }
            mine
        };
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(call)).collect();
        start.wait();
        let started = Instant::now();
        for caller in callers {
            // A panic of a node is a failure of its call; one of ours is passed on.
            all.add(caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all.total = started.elapsed();
    });
    all
}

impl Measured {
    fn call(&mut self, executor: &Executor, request: &Result<Request, RequestError>) {
        let started = Instant::now();
        let result = match request {
            Ok(request) => executor.call(request),
            Err(error) => Err(CallError::BadInput(error.clone())),
        };
        let latency = started.elapsed();
        match result {
            Ok(_) => self.latencies_ns.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)),
            Err(error) => {
                *self.failures.entry(error.class()).or_default() += 1;
                self.messages.entry(error.class()).or_insert_with(|| error.to_string());
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.latencies_ns.extend(other.latencies_ns);
        for (class, count) in other.failures {
            *self.failures.entry(class).or_default() += count;
        }
        for (class, message) in other.messages {
            self.messages.entry(class).or_insert(message);
        }
    }

    /// How many calls failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The figures, with what they were measured on.
    pub fn report(&self, executor: &Executor, options: &BenchOptions) -> BenchReport {
        let us: Vec<f64> = self.latencies_ns.iter().map(|latency| *latency as f64 / 1e3).collect();
        // None without a call that succeeded.
        let figure = |p| percentile(&us, p).ok();
        let value = |p| figure(p).map(|percentile| percentile.value);
        let seconds = self.total.as_secs_f64();
        let is_thin = |p: &(f64, &'static str)| figure(p.0).is_some_and(|percentile| !percentile.supported);
        let named = [(50.0, "p50_us"), (90.0, "p90_us"), (99.0, "p99_us")];
        BenchReport {
            plan: executor.plan().name().into(),
            iterations: self.latencies_ns.len() as u64 + self.failed(),
            concurrency: options.concurrency.get(),
            async_scheduler: executor.scheduler() == Scheduler::Async,
            cpu_threads: executor.cpu_threads().get(),
            io_threads: executor.io_threads().get(),
            warmup: options.warmup,
            optimized: !cfg!(debug_assertions),
            succeeded: self.latencies_ns.len() as u64,
            failed: self.failed(),
            failures: self.failures.clone(),
            total_ms: seconds * 1e3,
            throughput_rps: if seconds > 0.0 { us.len() as f64 / seconds } else { 0.0 },
            avg_us: (!us.is_empty()).then(|| us.iter().sum::<f64>() / us.len() as f64),
            p50_us: value(50.0),
            p90_us: value(90.0),
            p99_us: value(99.0),
            min_us: value(0.0),
            max_us: value(100.0),
            too_few_calls_for: named.iter().filter(|one| is_thin(one)).map(|(_, name)| *name).collect(),
        }
    }
}

/// The figures of a bench. Latencies are those of calls that succeeded, and absent when there is none; percentiles are
/// observed latencies, by nearest rank.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Its name.
    pub plan: String,
    /// Calls that were made.
    pub iterations: u64,
    /// Callers at once.
    pub concurrency: usize,
    /// Whether nodes overlap.
    pub async_scheduler: bool,
    /// How many nodes may calculate at once.
    pub cpu_threads: usize,
    /// How many nodes may wait at once.
    pub io_threads: usize,
    /// Calls before those that count.
    pub warmup: u64,
    /// Whether this program was built with optimisation; figures of one that was not say nothing about one that was.
    pub optimized: bool,
    /// Calls with a result.
    pub succeeded: u64,
    /// Calls without.
    pub failed: u64,
    /// Calls without, by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// From the first call until the last one ended.
    pub total_ms: f64,
    /// Calls that succeeded, for each second of that.
    pub throughput_rps: f64,
    /// Mean latency.
    pub avg_us: Option<f64>,
    /// Half of the latencies are at most this.
    pub p50_us: Option<f64>,
    /// 90 of 100 are at most this.
    pub p90_us: Option<f64>,
    /// 99 of 100 are at most this.
    pub p99_us: Option<f64>,
    /// The smallest.
    pub min_us: Option<f64>,
    /// The largest.
    pub max_us: Option<f64>,
    /// Percentiles beyond which no latency can be expected with so few calls.
    pub too_few_calls_for: Vec<&'static str>,
}
