//! Times of the platform's calls within a time of the service.

use std::time::{Duration, Instant};

use virtmark_model::{Stopwatch, Timeline};

/// Adds the phases of a call that began at `call_started`. What passed between the last phase and the call belongs to
/// the call's first phase, so that no time is lost.
pub(crate) fn append(watch: &mut Stopwatch, timeline: Timeline, call_started: Instant) {
    let mut end_ns = 0;
    for phase in timeline.phases {
        end_ns += phase.duration_ns;
        watch.mark_at(phase.name, call_started + Duration::from_nanos(end_ns));
    }
}
