//! Which samples of two runs belong together.

use std::collections::BTreeMap;
use std::str::FromStr;

use virtmark_model::{Outcome, Sample, Unit};
use virtmark_stats::compare::Direction;

use super::CompareError;

/// Labels that tell measurements of different things apart. The others say how one of them went, or count.
const TELLING: [&str; 12] = [
    "cache",
    "channel",
    "concurrency",
    "direct",
    "load",
    "memory_mb",
    "mode",
    "network",
    "plan",
    "rate",
    "side",
    "vcpus",
];

/// Figures of which neither more nor less is better: they describe the load, and the course of the measurement.
const NEUTRAL: [&str; 5] =
    ["host_memory_limit", "memory_dirty_rate", "time_harness", "time_prepare", "time_tools"];

/// A metric that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricChoice {
    /// Its name.
    pub name: String,
    /// Which way is better; none for what its unit says.
    pub direction: Option<Direction>,
}

/// What is wrong with the name of a metric.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no metric: expected NAME, NAME:higher or NAME:lower, as in tti or capture_rate:higher")]
pub struct InvalidMetric(String);

impl FromStr for MetricChoice {
    type Err = InvalidMetric;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, direction) = match text.split_once(':') {
            None => (text, None),
            Some((name, "higher")) => (name, Some(Direction::Higher)),
            Some((name, "lower")) => (name, Some(Direction::Lower)),
            Some(_) => return Err(InvalidMetric(text.into())),
        };
        if name.is_empty() {
            return Err(InvalidMetric(text.into()));
        }
        Ok(Self { name: name.into(), direction })
    }
}

/// One metric of both runs, at one level, size or side of it.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Its name.
    pub metric: String,
    /// Labels that tell it from others of its name.
    pub labels: BTreeMap<String, String>,
    /// The unit of its samples.
    pub unit: Unit,
    /// Which way is better.
    pub direction: Direction,
    /// Samples of run A, in their order.
    pub a: Vec<&'a Sample>,
    /// Samples of run B, in their order.
    pub b: Vec<&'a Sample>,
}

type Key = (String, BTreeMap<String, String>, Unit);

/// The metrics that either run has and somebody wants, and the names of those of which nobody knows which way is better.
pub(super) fn of<'a>(
    a: &'a [Sample],
    b: &'a [Sample],
    wanted: &[MetricChoice],
) -> Result<(Vec<Series<'a>>, Vec<String>), CompareError> {
    let mut all: BTreeMap<Key, [Vec<&Sample>; 2]> = BTreeMap::new();
    for (side, samples) in [a, b].into_iter().enumerate() {
        for sample in samples {
            all.entry(key(sample)).or_default()[side].push(sample);
        }
    }
    for choice in wanted {
        if !all.keys().any(|(metric, ..)| *metric == choice.name) {
            let mut there: Vec<String> = all.into_keys().map(|(metric, ..)| metric).collect();
            there.dedup();
            return Err(CompareError::UnknownMetric { name: choice.name.clone(), there });
        }
    }
    let (mut series, mut unjudged) = (Vec::new(), Vec::new());
    for ((metric, labels, unit), [a, b]) in all {
        let choice = wanted.iter().find(|choice| choice.name == metric);
        if !wanted.is_empty() && choice.is_none() {
            continue;
        }
        // What neither run could measure is no difference, unless somebody asks for it.
        let is_skipped = |sample: &&Sample| matches!(sample.outcome, Outcome::Skipped { .. });
        if choice.is_none() && a.iter().chain(&b).all(is_skipped) {
            continue;
        }
        match choice.and_then(|choice| choice.direction).or_else(|| usual_direction(&metric, unit)) {
            Some(direction) => series.push(Series { metric, labels, unit, direction, a, b }),
            None if unjudged.last() != Some(&metric) => unjudged.push(metric),
            None => {}
        }
    }
    Ok((series, unjudged))
}

fn key(sample: &Sample) -> Key {
    let labels = sample.labels.iter().filter(|(name, _)| TELLING.contains(&name.as_str()));
    let labels = labels.map(|(name, value)| (name.clone(), value.clone())).collect();
    (sample.metric.clone(), labels, sample.unit)
}

/// Which way of a metric is better, as far as its unit or its name tells.
fn usual_direction(metric: &str, unit: Unit) -> Option<Direction> {
    match (metric, unit) {
        (metric, _) if NEUTRAL.contains(&metric) => None,
        ("error_ratio", _) => Some(Direction::Lower),
        ("capture_rate" | "phases_told_apart" | "points_stored", _) => Some(Direction::Higher),
        (_, unit) => direction_of(unit),
    }
}

/// Which values of a unit are better; none where it depends on what is counted.
pub fn direction_of(unit: Unit) -> Option<Direction> {
    match unit {
        Unit::Bytes | Unit::Ns => Some(Direction::Lower),
        Unit::BytesPerSecond | Unit::PerSecond => Some(Direction::Higher),
        Unit::Count | Unit::Ratio => None,
    }
}
