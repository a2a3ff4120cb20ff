//! What is going on at this moment, in a line.

use std::time::{Duration, Instant};

use virtmark_load::{Phase, Progress as LoadProgress};

use super::plan::SweepPlan;
use super::schedule::Step;
use crate::Progress;

/// Tells how far a sweep is while it runs: the level, the throughput since the last line, the time left.
pub(super) struct Live<'a> {
    plan: &'a SweepPlan,
    progress: &'a dyn Progress,
    runs: u32,
    /// Runs that have begun.
    begun: u32,
    level: String,
    /// When the first run began, and how much of the time since then runs were to measure.
    started: Option<Instant>,
    last: Option<LoadProgress>,
}

impl<'a> Live<'a> {
    pub(super) fn new(plan: &'a SweepPlan, steps: &[Step], progress: &'a dyn Progress) -> Self {
        let runs = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        Self { plan, progress, runs, begun: 0, level: String::new(), started: None, last: None }
    }

    /// Something beside the runs.
    pub(super) fn note(&self, words: &str) {
        self.progress.live(words);
    }

    /// A run begins.
    pub(super) fn begin(&mut self, step: Step) {
        self.started.get_or_insert_with(Instant::now);
        self.begun += 1;
        self.last = None;
        self.level = name(self.plan, step);
        self.progress.live(&format!("{}, {} left", self.level, seconds(self.left(Duration::ZERO))));
    }

    /// The generator says how far it is.
    pub(super) fn take(&mut self, now: LoadProgress) {
        let since = self.last.replace(now).filter(|last| last.phase == now.phase);
        let doing = match now.phase {
            Phase::Warmup => "warming up".to_owned(),
            Phase::Measure => {
                let (before_ns, before) = since.map_or((0, 0), |last| (last.elapsed_ns, last.completed));
                let (ns, calls) =
                    (now.elapsed_ns.saturating_sub(before_ns), now.completed.saturating_sub(before));
                let rate = if ns > 0 { calls as f64 * 1e9 / ns as f64 } else { 0.0 };
                let failed = if now.failed > 0 { format!(", {} failed", now.failed) } else { String::new() };
                format!("{rate:.0} req/s{failed}")
            }
        };
        let spent = match now.phase {
            Phase::Warmup => Duration::ZERO,
            Phase::Measure => Duration::from_nanos(now.elapsed_ns),
        };
        self.progress.live(&format!("{}: {doing}, {} left", self.level, seconds(self.left(spent))));
    }

    /// What the sweep still takes, when each run takes as long as those before it: known durations, and what they took
    /// beyond.
    fn left(&self, spent: Duration) -> Duration {
        let duration = self.plan.duration();
        let ended = self.begun.saturating_sub(1);
        let taken = self.started.map_or(Duration::ZERO, |started| started.elapsed()).saturating_sub(spent);
        let beyond = match ended {
            0 => Duration::ZERO,
            ended => taken.saturating_sub(duration * ended) / ended,
        };
        let to_come = self.runs.saturating_sub(self.begun);
        (duration + beyond) * to_come + duration.saturating_sub(spent)
    }
}

/// A level, as people call it.
fn name(plan: &SweepPlan, step: Step) -> String {
    let mut name = match step.rate_per_second {
        Some(rate) => format!("{rate} req/s"),
        None => format!("concurrency {}", step.concurrency),
    };
    if plan.runs > 1 {
        name.push_str(&format!(", run {} of {}", step.run_idx, plan.runs));
    }
    if plan.vcpus.len() > 1 {
        name.push_str(&format!(", {} vCPUs", step.vcpus));
    }
    name
}

/// `75 s` as `1m15s`.
fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{:02}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use virtmark_model::Sample;

    use super::super::plan::tests::small;
    use super::*;
    use crate::Plan;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Progress for Lines {
        fn begin(&self, _: Plan) {}
        fn warmed_up(&self) {}
        fn recorded(&self, _: &Sample) {}
        fn warn(&self, _: &str) {}
        fn live(&self, line: &str) {
            self.0.lock().unwrap().push(line.into());
        }
    }

    #[test]
    fn a_line_has_the_level_the_rate_since_the_last_one_and_the_time_left() {
        let (plan, lines) = (SweepPlan { runs: 2, ..small() }, Lines::default());
        let steps = plan.steps();
        let mut live = Live::new(&plan, &steps, &lines);
        live.begin(steps[1]);
        let at = |phase, seconds: u64, completed| LoadProgress {
            phase,
            elapsed_ns: seconds * 1_000_000_000,
            completed,
            failed: 0,
        };
        live.take(at(Phase::Warmup, 1, 50));
        live.take(at(Phase::Measure, 2, 100));
        live.take(LoadProgress { failed: 3, ..at(Phase::Measure, 4, 500) });
        let lines = lines.0.into_inner().unwrap();
        assert_eq!(lines[0], "concurrency 2, run 1 of 2, 1m00s left");
        assert_eq!(lines[1], "concurrency 2, run 1 of 2: warming up, 1m00s left");
        assert_eq!(lines[2], "concurrency 2, run 1 of 2: 50 req/s, 58s left");
        assert_eq!(lines[3], "concurrency 2, run 1 of 2: 200 req/s, 3 failed, 56s left");
    }
}
