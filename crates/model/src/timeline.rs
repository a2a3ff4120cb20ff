//! A time taken apart: contiguous named phases that add up to the whole.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A named part of a time. `start_ns` counts from the start of its timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What happened in it, in the field's words: `spawn`, `init`, `exec`.
    pub name: Cow<'static, str>,
    /// Host monotonic nanoseconds from the start of the timeline.
    pub start_ns: u64,
    /// Host monotonic nanoseconds it lasted.
    pub duration_ns: u64,
}

/// The phases of one operation, in the order they happened, measured on the host's monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Contiguous phases: each starts where the one before it ended.
    pub phases: Vec<Phase>,
}

impl Timeline {
    /// Nanoseconds from the start of the first phase to the end of the last.
    pub fn total_ns(&self) -> u64 {
        self.phases.iter().map(|phase| phase.duration_ns).sum()
    }

    /// Nanoseconds spent in all phases of this name; `None` when there is none.
    pub fn phase_ns(&self, name: &str) -> Option<u64> {
        let mut found = None;
        for phase in self.phases.iter().filter(|phase| phase.name == name) {
            *found.get_or_insert(0) += phase.duration_ns;
        }
        found
    }

    /// Appends what followed directly: the phases of `next`, moved to start where this one ends.
    pub fn extend(&mut self, next: Timeline) {
        let offset_ns = self.total_ns();
        self.phases.extend(next.phases.into_iter().map(|mut phase| {
            phase.start_ns += offset_ns;
            phase
        }));
    }
}

/// Takes a time apart while it passes: every [`mark`](Stopwatch::mark) ends one phase and starts the next,
/// so that the phases are contiguous and their sum is the whole.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    started: Instant,
    last_ns: u64,
    timeline: Timeline,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self::start_at(Instant::now())
    }

    /// Starts at a moment that has already passed.
    pub fn start_at(started: Instant) -> Self {
        Self { started, last_ns: 0, timeline: Timeline::default() }
    }

    /// The moment it started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the current phase now and calls it `name`.
    pub fn mark(&mut self, name: impl Into<Cow<'static, str>>) {
        self.mark_at(name, Instant::now());
    }

    /// Ends the current phase at a moment that was observed elsewhere (a reader thread, say). A moment before
    /// the end of the previous phase makes an empty phase: phases never overlap.
    pub fn mark_at(&mut self, name: impl Into<Cow<'static, str>>, at: Instant) {
        let at_ns = nanoseconds(at.saturating_duration_since(self.started)).max(self.last_ns);
        self.timeline.phases.push(Phase {
            name: name.into(),
            start_ns: self.last_ns,
            duration_ns: at_ns - self.last_ns,
        });
        self.last_ns = at_ns;
    }

    /// Adds the phases of a call that began at `call_started`. What passed between the last phase and the call belongs to
    /// the call's first phase, so that no time is lost.
    pub fn append(&mut self, timeline: Timeline, call_started: Instant) {
        let mut end_ns: u64 = 0;
        for phase in timeline.phases {
            end_ns = end_ns.saturating_add(phase.duration_ns);
            // A time that no clock of the host could have seen ends with the phase before it.
            let end = call_started.checked_add(Duration::from_nanos(end_ns)).unwrap_or(call_started);
            self.mark_at(phase.name, end);
        }
    }

    /// As [`append`](Self::append), for a call after which nothing follows: its last phase ends at `call_ended`, and is
    /// called `operation` when the call has none.
    pub fn append_last(
        &mut self,
        mut timeline: Timeline,
        operation: &'static str,
        call_started: Instant,
        call_ended: Instant,
    ) {
        let last = timeline.phases.pop();
        self.append(timeline, call_started);
        self.mark_at(last.map_or(operation.into(), |phase| phase.name), call_ended);
    }

    /// The phases marked so far.
    pub fn finish(self) -> Timeline {
        self.timeline
    }
}

/// A duration as whole nanoseconds; saturates after 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn phases_are_contiguous_and_add_up(offsets_ns in prop::collection::vec(0u64..10_000_000_000, 1..20)) {
            let started = Instant::now();
            let mut watch = Stopwatch::start_at(started);
            for offset_ns in &offsets_ns {
                watch.mark_at("step", started + Duration::from_nanos(*offset_ns));
            }
            let timeline = watch.finish();
            let mut end_ns = 0;
            for phase in &timeline.phases {
                prop_assert_eq!(phase.start_ns, end_ns);
                end_ns += phase.duration_ns;
            }
            prop_assert_eq!(end_ns, *offsets_ns.iter().max().unwrap());
            prop_assert_eq!(timeline.total_ns(), end_ns);
        }
    }

    #[test]
    fn extending_keeps_the_sum_and_moves_the_starts() {
        let started = Instant::now();
        let part = |name: &'static str, ns| {
            let mut watch = Stopwatch::start_at(started);
            watch.mark_at(name, started + Duration::from_nanos(ns));
            watch.finish()
        };
        let mut whole = part("create", 70);
        whole.extend(part("start", 30));
        assert_eq!(whole.total_ns(), 100);
        assert_eq!(whole.phases[1].start_ns, 70);
        assert_eq!(whole.phase_ns("start"), Some(30));
        assert_eq!(whole.phase_ns("stop"), None);
    }

    fn timeline(durations_ns: &[(&'static str, u64)]) -> Timeline {
        let mut start_ns = 0;
        let phases = durations_ns
            .iter()
            .map(|&(name, duration_ns)| {
                let phase = Phase { name: name.into(), start_ns, duration_ns };
                start_ns += duration_ns;
                phase
            })
            .collect();
        Timeline { phases }
    }

    #[test]
    fn gaps_belong_to_the_phase_that_follows_and_nothing_is_lost() {
        let started = Instant::now();
        let mut watch = Stopwatch::start_at(started);
        watch.append(timeline(&[("prepare", 10), ("spawn", 20)]), started + Duration::from_nanos(3));
        watch.append(timeline(&[("init", 40)]), started + Duration::from_nanos(50));
        let phases = watch.finish().phases;
        let ends: Vec<_> =
            phases.iter().map(|phase| (phase.name.as_ref(), phase.start_ns, phase.duration_ns)).collect();
        assert_eq!(ends, [("prepare", 0, 13), ("spawn", 13, 20), ("init", 33, 57)]);
    }

    #[test]
    fn the_last_phase_of_an_operation_ends_with_the_call() {
        let started = Instant::now();
        let ended = started + Duration::from_nanos(100);
        let mut watch = Stopwatch::start_at(started);
        watch.append_last(timeline(&[("pause", 10), ("save", 20)]), "snapshot", started, ended);
        let timeline = watch.finish();
        assert_eq!(timeline.total_ns(), 100);
        assert_eq!(timeline.phase_ns("save"), Some(90));

        let mut watch = Stopwatch::start_at(started);
        watch.append_last(Timeline::default(), "snapshot", started, ended);
        assert_eq!(watch.finish().phase_ns("snapshot"), Some(100));
    }
}
