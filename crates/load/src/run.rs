//! One level of load, from the first worker to the outcome.

use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;

use crate::command::CommandTarget;
use crate::event::{Phase, Progress};
use crate::http;
use crate::job::{Arrivals, Job, JobError, TargetSpec};
use crate::lane::{Caller, Lane};
use crate::outcome::{Ended, OpenFigures, Outcome, Usage, Warmup};
use crate::plan::PlanTarget;
use crate::tally::{Slot, Tally};
use crate::target::{CallFailure, Cancel, Limit, SLICE, Target, Worker};
use crate::usage;
use crate::window::{Window, ns};

/// How long calls are waited for that do not return when they are given up.
const GRACE: Duration = Duration::from_millis(500);
/// How much later than asked for the kernel may wake a thread up.
const TIMER_SLACK_NS: u64 = 1_000;
/// How long calls that do nothing are made, to see what a call costs.
const OVERHEAD_TIME: Duration = Duration::from_millis(20);

/// How much a target is called; the same as in a [`Job`].
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// When it is called.
    pub arrivals: Arrivals,
    /// Calls before those that count, in a closed loop.
    pub warmup_iterations: u64,
    /// How long calls count.
    pub duration: Duration,
    /// The time limit of a call.
    pub request_timeout: Duration,
    /// Time between two progresses.
    pub progress_interval: Duration,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Calls of the warm-up do not return.
    #[error(
        "cannot begin to measure: {workers} of the workers are still in a call of the warm-up, {waited:?} after it was to be \
         given up; see whether the target hangs"
    )]
    Hung {
        /// How many.
        workers: usize,
        /// How long.
        waited: Duration,
    },
    /// The job makes no sense.
    #[error(transparent)]
    Job(#[from] JobError),
    /// There is no such thing to call.
    #[error("cannot prepare the target: {0}")]
    Target(CallFailure),
    /// The threads could not be made.
    #[error(
        "cannot start {threads} threads; raise the limit of processes (ulimit -u, pids cgroup), or ask for less concurrency"
    )]
    Threads {
        /// How many there should be.
        threads: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Runs a job. Progress is told on the calling thread.
///
/// # Errors
/// When nothing could be measured. A target that fails every call is an outcome.
pub fn run(job: &Job, on_progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Outcome, RunError> {
    job.check()?;
    let load = Load::from(job);
    match &job.target {
        TargetSpec::Plan(plan) => {
            let target = PlanTarget::new(plan).map_err(RunError::Target)?;
            run_target(&target, &load, on_progress, cancel)
        }
        TargetSpec::Command(command) => {
            let target = CommandTarget::new(command).map_err(RunError::Target)?;
            run_target(&target, &load, on_progress, cancel)
        }
        TargetSpec::Http(spec) => {
            let lanes = http::lanes(spec, load.arrivals.concurrency()).map_err(RunError::Target)?;
            run_lanes(lanes, &load, on_progress, cancel)
        }
    }
}

/// Calls any target, by one worker for each call at once. Progress is told on the calling thread.
///
/// # Errors
/// When nothing could be measured. A target that fails every call is an outcome.
pub fn run_target(
    target: &dyn Target,
    load: &Load,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Outcome, RunError> {
    let worker = |index| Ok(Box::new(Caller(target.worker(index)?)) as Box<dyn Lane>);
    let lanes = (0..load.arrivals.concurrency().get()).map(worker).collect::<Result<_, _>>();
    let overhead = overhead_ns_per_call();
    let mut outcome = run_lanes(lanes.map_err(RunError::Target)?, load, on_progress, cancel)?;
    outcome.overhead_ns_per_call = overhead;
    Ok(outcome)
}

/// The mean time of a call that does nothing.
fn overhead_ns_per_call() -> Option<f64> {
    struct Nothing;
    impl Worker for Nothing {
        fn call(&mut self, _: &Limit) -> Result<(), CallFailure> {
            Ok(())
        }
    }
    let arrivals = Arrivals::Closed { concurrency: NonZeroUsize::MIN };
    let window = Window::new(arrivals, OVERHEAD_TIME, OVERHEAD_TIME, &Cancel::new());
    let slot = Slot::default();
    Caller(Box::new(Nothing)).run(&window, &slot);
    let (calls, _) = slot.counts();
    (calls > 0).then(|| window.length_ns() as f64 / calls as f64)
}

/// Warms up and measures.
pub(crate) fn run_lanes(
    lanes: Vec<Box<dyn Lane>>,
    load: &Load,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Outcome, RunError> {
    let (lanes, warmup) = warm_up(lanes, load, on_progress, cancel)?;
    let window = || Window::new(load.arrivals, load.duration, load.request_timeout, cancel);
    let done = pass(lanes, window, Phase::Measure, load, on_progress)?;
    let (tally, window) = (done.tally, done.window);
    let begun = tally.begun();
    let open = window.due().map(|due| OpenFigures {
        due,
        late: tally.late,
        dropped: due.saturating_sub(begun),
        lag: tally.lag,
    });
    Ok(Outcome {
        ended: if window.length_ns() < ns(load.duration) { Ended::Cancelled } else { Ended::Completed },
        elapsed_ns: window.length_ns(),
        completed: tally.latency.count(),
        errors: tally.errors,
        cut_off: tally.cut_off,
        oldest_cut_off_ns: tally.oldest_cut_off_ns,
        stuck: tally.stuck,
        latency: tally.latency,
        open,
        warmup,
        usage: done.usage,
        overhead_ns_per_call: None,
    })
}

fn warm_up(
    lanes: Vec<Box<dyn Lane>>,
    load: &Load,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<(Vec<Box<dyn Lane>>, Warmup), RunError> {
    if load.warmup_iterations == 0 {
        return Ok((lanes, Warmup { is_whole: true, ..Warmup::default() }));
    }
    let workers = lanes.len();
    let arrivals = Arrivals::Closed { concurrency: load.arrivals.concurrency() };
    let window = || {
        Window::new(arrivals, load.duration, load.request_timeout, cancel).with_quota(load.warmup_iterations)
    };
    let done = pass(lanes, window, Phase::Warmup, load, on_progress)?;
    // Without all workers there would be less concurrency than the outcome says.
    if done.lanes.len() < workers && !cancel.is_cancelled() {
        return Err(RunError::Hung { workers: workers - done.lanes.len(), waited: GRACE });
    }
    let (completed, failed) = (done.tally.latency.count(), done.tally.failed);
    let is_whole = completed + failed == load.warmup_iterations;
    Ok((done.lanes, Warmup { completed, failed, elapsed_ns: done.elapsed_ns, is_whole }))
}

/// What came of a window.
struct Done {
    window: Arc<Window>,
    tally: Tally,
    usage: Usage,
    /// Those that ended in time.
    lanes: Vec<Box<dyn Lane>>,
    /// Until the last of them ended, or the window did.
    elapsed_ns: u64,
}

/// Runs all lanes for the length of a window, which begins when every thread is there.
fn pass(
    lanes: Vec<Box<dyn Lane>>,
    window: impl FnOnce() -> Window,
    phase: Phase,
    load: &Load,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Done, RunError> {
    let threads = lanes.len();
    let slots: Vec<Arc<Slot>> = lanes.iter().map(|_| Arc::default()).collect();
    let (returned, returns) = channel();
    let mut starts = Vec::with_capacity(threads);
    for (mut lane, slot) in lanes.into_iter().zip(slots.iter().cloned()) {
        let returned = returned.clone();
        let (start, started) = channel::<Arc<Window>>();
        let thread = thread::Builder::new().name("load".into()).spawn(move || {
            // Nothing comes when another thread could not be made.
            if let Ok(window) = started.recv() {
                // Where it cannot be set, calls of an open loop begin some 50 µs later, and their lag says so.
                let _ = set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS));
                lane.run(&window, &slot);
                // Nobody hears of it when the lane was left behind.
                let _ = returned.send(lane);
            }
        });
        thread.map_err(|source| RunError::Threads { threads, source })?;
        starts.push(start);
    }
    drop(returned);
    let before = usage::since_start();
    let window = Arc::new(window());
    for start in starts {
        // The thread waits for it.
        let _ = start.send(Arc::clone(&window));
    }
    let mut lanes = Vec::with_capacity(threads);
    let mut next_progress = window.start + load.progress_interval;
    let mut after = None;
    while lanes.len() < threads {
        let now = Instant::now();
        if window.cancel.is_cancelled() {
            window.end_now();
        }
        if now >= window.end() {
            after.get_or_insert_with(usage::since_start);
        }
        if now >= window.end() + GRACE {
            break;
        }
        if now >= next_progress && now < window.end() {
            on_progress(progress(&slots, phase, now - window.start));
            next_progress = now + load.progress_interval;
        }
        let next = if now < window.end() { window.end().min(next_progress) } else { window.end() + GRACE };
        match returns.recv_timeout(next.saturating_duration_since(now).min(SLICE)) {
            Ok(lane) => lanes.push(lane),
            Err(RecvTimeoutError::Timeout) => {}
            // A lane panicked; the others have ended.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // The last of them may have seen it first.
    if window.cancel.is_cancelled() {
        window.end_now();
    }
    let elapsed_ns = ns(window.start.elapsed()).min(window.length_ns());
    let usage = usage::between(before, after.unwrap_or_else(usage::since_start));
    let mut tally = Tally::default();
    slots.iter().for_each(|slot| tally.add(slot.close(&window)));
    Ok(Done { window, tally, usage, lanes, elapsed_ns })
}

fn progress(slots: &[Arc<Slot>], phase: Phase, elapsed: Duration) -> Progress {
    let mut progress = Progress { phase, elapsed_ns: ns(elapsed), completed: 0, failed: 0 };
    for slot in slots {
        let (completed, failed) = slot.counts();
        progress.completed += completed;
        progress.failed += failed;
    }
    progress
}

impl From<&Job> for Load {
    fn from(job: &Job) -> Self {
        Self {
            arrivals: job.arrivals,
            warmup_iterations: job.warmup_iterations,
            duration: job.duration(),
            request_timeout: job.request_timeout(),
            progress_interval: Duration::from_nanos(job.progress_interval_ns.get()),
        }
    }
}
