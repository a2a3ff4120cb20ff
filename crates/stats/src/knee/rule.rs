//! The knee by rule of thumb: throughput stands still while tail latency grows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::levels::Levels;

/// A gain of throughput below this share is none: 5 %.
pub const GAIN_LIMIT: f64 = 0.05;

/// Growth of p99 over this factor is the price of saturation.
pub const P99_GROWTH_LIMIT: f64 = 1.5;

/// The knee by [`rule`], with the step that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RuleKnee {
    /// The knee: a measured level.
    pub concurrency: u32,
    /// The higher level it was compared with.
    pub compared_with: u32,
    /// Gain of throughput from the knee to that level, as a share: 0.014 is 1.4 %; negative where it falls.
    pub throughput_gain: f64,
    /// p99 at that level over p99 at the knee.
    pub p99_growth: f64,
}

impl fmt::Display for RuleKnee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concurrency, compared_with, throughput_gain, p99_growth } = self;
        let gain = throughput_gain * 100.0;
        write!(
            f,
            "{concurrency} (to {compared_with}: throughput {gain:+.1} %, p99 grows {p99_growth:.1} times)"
        )
    }
}

/// The lowest level after which throughput gains less than 5 % while p99 grows over 1.5 times.
///
/// A level is compared with the next one of at least twice its concurrency, or with the highest where there is none,
/// so that the answer does not depend on how finely the levels are spaced. It is the knee only if throughput stays
/// within 5 % of it at every higher level. Figures of a level are medians over its runs. Levels without a success, or
/// with a p99 of 0 (below the resolution of the record), are left out.
pub fn rule(levels: &Levels) -> Finding<RuleKnee> {
    let usable = usable(levels);
    if usable.len() < 2 {
        return Finding::none(format!(
            "the rule compares levels that have throughput and p99, and needs 2 of them; there {}",
            if usable.is_empty() { "is none" } else { "is 1" }
        ));
    }
    let steps: Vec<Step> = (0..usable.len() - 1).map(|index| Step::from(&usable, index)).collect();
    match steps.iter().find(|step| step.plateau && step.knee.p99_growth > P99_GROWTH_LIMIT) {
        Some(step) => Finding::Found(step.knee),
        None => Finding::none(why_not(&steps)),
    }
}

/// A level with both figures.
struct Point {
    concurrency: u32,
    throughput: f64,
    p99_ns: f64,
}

fn usable(levels: &Levels) -> Vec<Point> {
    let point = |level: &super::Level| {
        let p99_ns = level.latency()?.p99_ns as f64;
        let point = Point { concurrency: level.concurrency(), throughput: level.throughput(), p99_ns };
        (point.throughput > 0.0 && p99_ns > 0.0).then_some(point)
    };
    levels.as_slice().iter().filter_map(point).collect()
}

/// A candidate with what it was compared with.
struct Step {
    knee: RuleKnee,
    /// Throughput is within the limit at every higher level.
    plateau: bool,
}

impl Step {
    fn from(points: &[Point], index: usize) -> Self {
        let at = &points[index];
        let higher = &points[index + 1..];
        let twice = u64::from(at.concurrency) * 2;
        let with = higher.iter().find(|point| u64::from(point.concurrency) >= twice);
        let with = with.unwrap_or(&points[points.len() - 1]);
        let gain = |point: &Point| point.throughput / at.throughput - 1.0;
        Self {
            knee: RuleKnee {
                concurrency: at.concurrency,
                compared_with: with.concurrency,
                throughput_gain: gain(with),
                p99_growth: with.p99_ns / at.p99_ns,
            },
            plateau: higher.iter().all(|point| gain(point) < GAIN_LIMIT),
        }
    }
}

fn why_not(steps: &[Step]) -> String {
    match steps.iter().find(|step| step.plateau) {
        Some(Step { knee, .. }) => format!(
            "throughput gains less than 5 % beyond {}, but p99 grows only {:.2} times to {}, not over 1.5",
            knee.concurrency, knee.p99_growth, knee.compared_with
        ),
        None => {
            let last = steps[steps.len() - 1].knee;
            format!(
                "throughput still grows by {:.1} % from {} to {}, the highest level; measure higher levels",
                last.throughput_gain * 100.0,
                last.concurrency,
                last.compared_with
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::levels::{Latency, LevelRun};
    use super::*;

    fn levels(rows: &[(u32, f64, u64)]) -> Levels {
        Levels::new(rows.iter().map(|&(concurrency, throughput, p99_ns)| LevelRun {
            concurrency,
            throughput,
            latency: (p99_ns > 0).then_some(Latency { p50_ns: 0, p90_ns: 0, p99_ns, max_ns: p99_ns }),
            error_ratio: None,
        }))
        .unwrap()
    }

    #[test]
    fn both_limits_are_exclusive() {
        let knee = |gain, p99_ns| rule(&levels(&[(1, 100.0, 10), (2, gain, p99_ns)]));
        assert_eq!(knee(104.9, 16).found().map(|knee| knee.concurrency), Some(1));
        assert!(knee(105.1, 16).reason().unwrap().contains("still grows by 5.1 % from 1 to 2"));
        assert!(knee(104.9, 15).reason().unwrap().contains("p99 grows only 1.50 times to 2"));
    }

    #[test]
    fn a_pause_before_more_throughput_is_no_knee() {
        let rows = [(4, 100.0, 10), (8, 102.0, 20), (16, 180.0, 22), (32, 181.0, 50)];
        assert_eq!(rule(&levels(&rows)).found().map(|knee| knee.concurrency), Some(16));
    }

    #[test]
    fn the_spacing_of_levels_does_not_decide() {
        // Saturated at 8; p99 as Little's law has it.
        let row = |n: u32| (n, f64::from(n.min(8)) * 100.0, 1000 * u64::from(n.max(8)) / 8);
        let doubling = levels(&[1, 2, 4, 8, 16, 32].map(row));
        let single: Vec<_> = (1..=32).map(row).collect();
        for levels in [doubling, levels(&single)] {
            assert_eq!(
                rule(&levels).found().map(|knee| (knee.concurrency, knee.compared_with)),
                Some((8, 16))
            );
        }
    }

    #[test]
    fn too_few_usable_levels_are_told() {
        assert!(rule(&levels(&[(4, 10.0, 10)])).reason().unwrap().ends_with("there is 1"));
        assert!(rule(&levels(&[(4, 10.0, 0), (8, 10.0, 0)])).reason().unwrap().ends_with("there is none"));
        let dead = [(4, 10.0, 10), (8, 0.0, 10), (16, 10.0, 0)];
        assert!(rule(&levels(&dead)).reason().unwrap().ends_with("there is 1"));
    }
}
