//! A request's time taken apart: the service's own time, and what HTTP added to it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use virtmark_model::{Phase, Timeline};

/// The phase of what the client's clock saw beyond the service's own time: both ways through the network, connections
/// and encryption where they are new, JSON on both sides.
const HTTP: &str = "http";

/// The phase of what the service says it took, and does not name.
const SERVICE: &str = "service";

/// What a service says of the time it took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) duration_ns: Option<u64>,
    pub(crate) phases: Vec<(String, u64)>,
}

/// Takes `wall_ns` apart as far as what the service says fits into it: `http` first, which is both ways, then the service's
/// phases in their order, then what of its time it did not name. Without a word of the service, or with one that cannot
/// be, the whole is one phase called `operation`; why it cannot be is told beside it.
pub(crate) fn timeline(
    wall_ns: u64,
    reported: Reported,
    operation: &'static str,
) -> (Timeline, Option<String>) {
    let whole = |problem: Option<String>| (contiguous([(operation.to_owned(), wall_ns)]), problem);
    let named_ns = reported.phases.iter().try_fold(0, |sum: u64, (_, ns)| sum.checked_add(*ns));
    let (Some(named_ns), phases) = (named_ns, reported.phases) else {
        return whole(Some(format!("the service's phases of {operation} add up to more than can be")));
    };
    let Some(service_ns) = reported.duration_ns.or((!phases.is_empty()).then_some(named_ns)) else {
        return whole(None);
    };
    if named_ns > service_ns {
        return whole(Some(format!(
            "the service's phases of {operation} are longer than the time it says it took; they are left out"
        )));
    }
    if service_ns > wall_ns {
        return whole(Some(format!(
            "the service says {operation} took it longer than it took in all; its times are left out"
        )));
    }
    let unnamed = if phases.is_empty() { operation } else { SERVICE };
    let unnamed =
        (named_ns < service_ns || phases.is_empty()).then(|| (unnamed.to_owned(), service_ns - named_ns));
    let http = (HTTP.to_owned(), wall_ns - service_ns);
    (contiguous([http].into_iter().chain(phases).chain(unnamed)), None)
}

fn contiguous(parts: impl IntoIterator<Item = (String, u64)>) -> Timeline {
    let mut start_ns = 0;
    let phases = parts.into_iter().map(|(name, duration_ns)| {
        let phase = Phase { name: name.into(), start_ns, duration_ns };
        start_ns += duration_ns;
        phase
    });
    Timeline { phases: phases.collect() }
}

/// Remarks on what was measured, each with how often there was reason for it.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<BTreeMap<String, u64>>);

impl Notes {
    pub(crate) fn add(&self, note: impl Into<String>) {
        // A panic elsewhere leaves whole values behind.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(note.into()).or_default() += 1;
    }

    pub(crate) fn all(&self) -> Vec<(String, u64)> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().map(|(note, times)| (note.clone(), *times)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(wall_ns: u64, duration_ns: Option<u64>, phases: &[(&str, u64)]) -> (Vec<(String, u64)>, bool) {
        let phases = phases.iter().map(|(name, ns)| ((*name).to_owned(), *ns)).collect();
        let (timeline, note) = timeline(wall_ns, Reported { duration_ns, phases }, "create");
        let parts = timeline.phases.iter().map(|phase| (phase.name.to_string(), phase.duration_ns)).collect();
        (parts, note.is_some())
    }

    #[test]
    fn what_the_service_says_is_used_as_far_as_it_can_be() {
        let told = |parts: &[(&str, u64)]| parts.iter().map(|(name, ns)| ((*name).to_owned(), *ns)).collect();
        let boot: &[(&str, u64)] = &[("boot", 60), ("agent", 20)];
        for (duration_ns, phases, expected, noted) in [
            (None, &[][..], &[("create", 100)][..], false),
            (Some(90), &[], &[("http", 10), ("create", 90)], false),
            (Some(80), boot, &[("http", 20), ("boot", 60), ("agent", 20)], false),
            (Some(95), boot, &[("http", 5), ("boot", 60), ("agent", 20), ("service", 15)], false),
            (None, boot, &[("http", 20), ("boot", 60), ("agent", 20)], false),
            (Some(70), boot, &[("create", 100)], true),
            (Some(101), &[], &[("create", 100)], true),
            (None, &[("a", u64::MAX), ("b", 1)], &[("create", 100)], true),
        ] {
            assert_eq!(
                parts(100, duration_ns, phases),
                (told(expected), noted),
                "{duration_ns:?} {phases:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn phases_share_borders_and_add_up_to_the_wall_clock(
            wall_ns in 0u64..1_000,
            duration_ns in prop::option::of(0u64..1_200),
            phases in prop::collection::vec(("[a-c]", 0u64..300), 0..5),
        ) {
            let (timeline, _) = timeline(wall_ns, Reported { duration_ns, phases }, "create");
            prop_assert_eq!(timeline.total_ns(), wall_ns);
            let mut end_ns = 0;
            for phase in &timeline.phases {
                prop_assert_eq!(phase.start_ns, end_ns);
                end_ns += phase.duration_ns;
            }
        }
    }
}
