//! How much of a life a source has kept, and what of its course can be seen in that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use virtmark_model::{Outcome, Phase, Unit};

use super::{Source, WORKLOAD_PHASES};
use crate::Result;
use crate::recorder::Recorder;

/// Two phases look different when the medians of one figure differ by this factor, both ways seen.
const FACTOR: f64 = 1.5;
/// Rates below these count as nothing: CPUs, and bytes a second.
const FLOORS: [f64; 2] = [0.05, 1024.0];
/// Rates between points that both lie in a phase, without which nothing is said of it.
const LEAST_RATES: usize = 1;

/// A stretch of the wall clock, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub start_ns: u64,
    /// The moment after its last.
    pub end_ns: u64,
}

/// What a source has of one machine in a stretch of time: points as `(nanoseconds since 1970, value)`, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// How many points the series has that is present in every life and has the fewest.
    pub fewest_points: u64,
    /// A counter of CPU seconds of the guest's virtual CPUs.
    pub cpu_seconds: Vec<(u64, f64)>,
    /// A counter of bytes to and from the guest's disks.
    pub disk_bytes: Vec<(u64, f64)>,
}

/// How much of a life a source has kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// Points that fit into the life at the source's interval.
    pub points_expected: u64,
    /// Points of the always-present series that has the fewest.
    pub points_stored: u64,
    /// Phases of the workload that look different from both their neighbours.
    pub told_apart: Vec<&'static str>,
}

/// When what happened in a life.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) machine: String,
    /// From the request to create to the end of the workload.
    pub(super) life: Span,
    pub(super) phases: Vec<(&'static str, Span)>,
}

impl Course {
    pub(super) fn new(machine: &str, wall_ns: u64, phases: &[Phase]) -> Self {
        let span = |phase: &Phase| Span {
            start_ns: wall_ns + phase.start_ns,
            end_ns: wall_ns + phase.start_ns + phase.duration_ns,
        };
        let end_ns = phases.last().map_or(wall_ns, |phase| span(phase).end_ns);
        let phases = WORKLOAD_PHASES
            .into_iter()
            .filter_map(|name| Some((name, span(phases.iter().find(|phase| phase.name == name)?))))
            .collect();
        Self { machine: machine.into(), life: Span { start_ns: wall_ns, end_ns }, phases }
    }
}

impl Coverage {
    /// Judges what a source has of a life whose workload had these phases.
    pub fn of(evidence: &Evidence, life: Span, interval: Duration, phases: &[(&'static str, Span)]) -> Self {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self {
            points_expected: life.end_ns / interval_ns - life.start_ns / interval_ns,
            points_stored: evidence.fewest_points,
            told_apart: told_apart(evidence, phases),
        }
    }

    /// Points stored for each expected; `None` when none was expected.
    pub fn capture_rate(&self) -> Option<f64> {
        (self.points_expected > 0).then(|| self.points_stored as f64 / self.points_expected as f64)
    }
}

/// Asks a source about a life and keeps what it has.
pub(super) fn record(
    recorder: &Recorder<'_>,
    source: &mut dyn Source,
    course: &Course,
    labels: &BTreeMap<String, String>,
) -> Result<()> {
    let mut labels = labels.clone();
    labels.insert("source".into(), source.name().into());
    let found = source.evidence(&course.machine, course.life);
    let coverage =
        found.map(|evidence| Coverage::of(&evidence, course.life, source.interval(), &course.phases));
    let keep = |metric: &str, unit: Unit, value: Option<f64>, labels: &BTreeMap<String, String>| {
        let outcome = match (&coverage, value) {
            (Err(reason), _) => Outcome::Skipped { reason: reason.clone() },
            (Ok(_), None) => Outcome::Skipped { reason: "the life was shorter than one interval".into() },
            (Ok(_), Some(value)) => Outcome::Success { value },
        };
        recorder.keep(metric, unit, Instant::now(), outcome, Vec::new(), labels.clone())
    };
    let known = coverage.as_ref().ok();
    keep("points_expected", Unit::Count, known.map(|known| known.points_expected as f64), &labels)?;
    keep("points_stored", Unit::Count, known.map(|known| known.points_stored as f64), &labels)?;
    keep("capture_rate", Unit::Ratio, known.and_then(Coverage::capture_rate), &labels)?;
    if let Some(known) = known {
        labels.insert("phases".into(), known.told_apart.join(","));
    }
    keep("phases_told_apart", Unit::Count, known.map(|known| known.told_apart.len() as f64), &labels)
}

/// The phases that look different from both their neighbours, in CPU use or in disk traffic.
fn told_apart(evidence: &Evidence, phases: &[(&'static str, Span)]) -> Vec<&'static str> {
    let figures: Vec<[Option<f64>; 2]> = phases
        .iter()
        .map(|(_, span)| {
            [median_rate(&evidence.cpu_seconds, *span), median_rate(&evidence.disk_bytes, *span)]
        })
        .collect();
    let differ = |left: usize, right: usize| {
        (0..2).any(|figure| match (figures[left][figure], figures[right][figure]) {
            (Some(left), Some(right)) => {
                let (left, right) = (left.max(FLOORS[figure]), right.max(FLOORS[figure]));
                left / right >= FACTOR || right / left >= FACTOR
            }
            _ => false,
        })
    };
    (0..phases.len())
        .filter(|&index| {
            (index == 0 || differ(index - 1, index))
                && (index + 1 == phases.len() || differ(index, index + 1))
        })
        .map(|index| phases[index].0)
        .collect()
}

/// The median of the rates between points that both lie in `span`; none with too few of them.
fn median_rate(counter: &[(u64, f64)], span: Span) -> Option<f64> {
    let inside = |at_ns: u64| (span.start_ns..=span.end_ns).contains(&at_ns);
    let mut rates: Vec<f64> = counter
        .windows(2)
        .filter(|pair| inside(pair[0].0) && inside(pair[1].0) && pair[1].0 > pair[0].0)
        // A counter that goes down was reset, and says nothing of this interval.
        .filter(|pair| pair[1].1 >= pair[0].1)
        .map(|pair| (pair[1].1 - pair[0].1) * 1e9 / (pair[1].0 - pair[0].0) as f64)
        .collect();
    if rates.len() < LEAST_RATES {
        return None;
    }
    rates.sort_by(f64::total_cmp);
    Some(rates[(rates.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn span(start_s: u64, end_s: u64) -> Span {
        Span { start_ns: start_s * S, end_ns: end_s * S }
    }

    fn phases() -> Vec<(&'static str, Span)> {
        vec![("cpu_burst", span(0, 5)), ("idle", span(5, 8)), ("io", span(8, 13)), ("mixed", span(13, 18))]
    }

    /// Counters that grow by these rates in the four phases, read every `step_s` seconds.
    fn evidence(step_s: usize, cpu: [f64; 4], disk: [f64; 4]) -> Evidence {
        let counter = |rates: [f64; 4]| {
            let mut total = 0.0;
            let mut points = vec![(0, 0.0)];
            for second in 0..18_u64 {
                let phase = phases().iter().position(|(_, span)| second * S < span.end_ns).unwrap();
                total += rates[phase];
                points.push(((second + 1) * S, total));
            }
            points.into_iter().step_by(step_s).collect::<Vec<_>>()
        };
        let (cpu_seconds, disk_bytes) = (counter(cpu), counter(disk));
        Evidence { fewest_points: cpu_seconds.len() as u64, cpu_seconds, disk_bytes }
    }

    #[test]
    fn every_phase_is_seen_at_one_second() {
        let evidence = evidence(1, [1.0, 0.01, 0.9, 1.0], [0.0, 0.0, 8e6, 4e6]);
        let coverage = Coverage::of(&evidence, span(0, 18), Duration::from_secs(1), &phases());
        assert_eq!(coverage.told_apart, WORKLOAD_PHASES);
        assert_eq!(coverage.points_expected, 18);
        assert!(coverage.capture_rate().unwrap() >= 1.0);
    }

    #[test]
    fn nothing_is_seen_by_a_scrape_that_comes_once() {
        let evidence = evidence(15, [1.0, 0.01, 0.9, 1.0], [0.0, 0.0, 8e6, 4e6]);
        let coverage = Coverage::of(&evidence, span(0, 18), Duration::from_secs(15), &phases());
        assert_eq!(coverage.told_apart, Vec::<&str>::new());
        assert_eq!(coverage.points_expected, 1);
    }

    #[test]
    fn phases_that_look_the_same_are_not_told_apart() {
        let evidence = evidence(1, [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 8e6, 8e6]);
        let coverage = Coverage::of(&evidence, span(0, 18), Duration::from_secs(1), &phases());
        assert_eq!(coverage.told_apart, Vec::<&str>::new());
    }

    #[test]
    fn a_counter_that_was_reset_says_nothing_of_that_interval() {
        let counter = [(0, 5.0), (S, 6.0), (2 * S, 0.5), (3 * S, 1.5)];
        assert_eq!(median_rate(&counter, span(0, 3)), Some(1.0));
    }

    #[test]
    fn a_life_shorter_than_an_interval_has_no_rate() {
        let coverage = Coverage::of(&Evidence::default(), span(1, 3), Duration::from_secs(15), &phases());
        assert_eq!(coverage.points_expected, 0);
        assert_eq!(coverage.capture_rate(), None);
    }
}
