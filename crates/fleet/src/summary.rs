//! The machines compared: what each metric was on all of them together.

use std::collections::BTreeMap;

use serde::Serialize;
use virtmark_model::{Sample, Unit};
use virtmark_payload::metric::Better;
use virtmark_stats::Summary;

use crate::RUN_METRIC;

/// One metric on all machines that have it. Each machine counts once, with the mean of its own values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricSummary {
    /// Its name.
    pub metric: String,
    /// In the unit of the archive.
    pub unit: Unit,
    /// What is counted, where the unit alone does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Which direction is the better one, where the payload said so; of times without a word, the lower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// Machines that have it.
    pub machines: usize,
    /// Values of all machines.
    pub values: usize,
    /// Mean over the machines.
    pub mean: f64,
    /// Standard deviation between the machines, of a sample; none of one machine.
    pub spread: Option<f64>,
    /// The smallest machine's.
    pub min: f64,
    /// The largest machine's.
    pub max: f64,
    /// The machine that did worst; none where no direction is the better one, or all are alike.
    pub slowest: Option<MachineValue>,
}

/// What one machine had.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MachineValue {
    /// Its name.
    pub machine: String,
    /// Mean of its values.
    pub value: f64,
}

/// Compares the machines by their samples, in the order in which the metrics first appear.
pub fn summarize(samples: &[Sample]) -> Vec<MetricSummary> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for sample in samples {
        let (Some(value), Some(machine)) = (sample.outcome.value(), sample.labels.get("machine")) else {
            continue;
        };
        let of = sample.labels.get("of");
        let same = |group: &&mut Group<'_>| group.is_of(sample, of);
        let at = match groups.iter_mut().find(same) {
            Some(group) => group,
            None => {
                groups.push(Group { first: sample, of, by_machine: BTreeMap::new() });
                // It was pushed just now.
                let Some(group) = groups.last_mut() else { continue };
                group
            }
        };
        at.by_machine.entry(machine).or_default().push(value);
    }
    groups.iter().filter_map(Group::summary).collect()
}

struct Group<'a> {
    first: &'a Sample,
    of: Option<&'a String>,
    by_machine: BTreeMap<&'a str, Vec<f64>>,
}

impl Group<'_> {
    fn is_of(&self, sample: &Sample, of: Option<&String>) -> bool {
        self.first.metric == sample.metric && self.first.unit == sample.unit && self.of == of
    }

    /// None where a value is beyond what can be computed with.
    fn summary(&self) -> Option<MetricSummary> {
        let mut means = Vec::new();
        for (machine, values) in &self.by_machine {
            means.push((*machine, Summary::from_samples(values).ok()?.mean));
        }
        let values: Vec<f64> = means.iter().map(|(_, value)| *value).collect();
        let Summary { mean, stddev: spread, min, max, .. } = Summary::from_samples(&values).ok()?;
        let better = match self.first.labels.get("better").map(String::as_str) {
            Some("higher") => Some(Better::Higher),
            Some("lower") => Some(Better::Lower),
            _ if self.first.metric == RUN_METRIC || self.first.unit == Unit::Ns => Some(Better::Lower),
            _ => None,
        };
        let worst =
            better.filter(|_| min < max).map(|better| if better == Better::Higher { min } else { max });
        let slowest = worst.and_then(|worst| means.iter().find(|(_, value)| *value == worst));
        Some(MetricSummary {
            metric: self.first.metric.clone(),
            unit: self.first.unit,
            of: self.of.cloned(),
            better,
            machines: means.len(),
            values: self.by_machine.values().map(Vec::len).sum(),
            mean,
            spread,
            min,
            max,
            slowest: slowest
                .map(|(machine, value)| MachineValue { machine: (*machine).into(), value: *value }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use virtmark_model::Outcome;

    use super::*;

    fn sample(machine: &str, metric: &str, value: f64, better: Option<&str>) -> Sample {
        let mut labels = BTreeMap::from([("machine".to_owned(), machine.to_owned())]);
        labels.extend(better.map(|better| ("better".to_owned(), better.to_owned())));
        let outcome = Outcome::Success { value };
        let unit = Unit::PerSecond;
        Sample { seq: 0, metric: metric.into(), unit, started_ns: 0, outcome, phases: Vec::new(), labels }
    }

    #[test]
    fn the_worst_machine_is_named() {
        let samples = [
            sample("a", "rate", 10.0, Some("higher")),
            sample("b", "rate", 30.0, Some("higher")),
            sample("a", "rate", 14.0, Some("higher")),
            sample("a", "size", 1.0, None),
        ];
        let summaries = summarize(&samples);
        let rate = &summaries[0];
        assert_eq!((rate.machines, rate.values, rate.mean, rate.min, rate.max), (2, 3, 21.0, 12.0, 30.0));
        assert_eq!(rate.slowest, Some(MachineValue { machine: "a".into(), value: 12.0 }));
        assert!((rate.spread.unwrap() - 162.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!((summaries[1].spread, &summaries[1].slowest), (None, &None));
    }

    proptest! {
        #[test]
        fn the_mean_lies_between(values in prop::collection::vec((0_usize..4, -1e6..1e6), 1..40)) {
            let samples: Vec<Sample> =
                values.iter().map(|(machine, value)| sample(&machine.to_string(), "m", *value, Some("lower"))).collect();
            let summary = &summarize(&samples)[0];
            prop_assert!(summary.min <= summary.mean + 1e-6 && summary.mean <= summary.max + 1e-6);
            prop_assert_eq!(summary.values, values.len());
            if let Some(slowest) = &summary.slowest {
                prop_assert_eq!(slowest.value, summary.max);
            }
        }
    }
}
