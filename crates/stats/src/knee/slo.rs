//! The highest level that keeps a service level objective.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::levels::{Level, Levels};
use super::objective::{Objective, Slo};

/// The highest level that keeps an objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloLevel {
    /// The level.
    pub concurrency: u32,
    /// The next higher level with what it breaks; none when this is the highest level measured.
    pub next: Option<Breach>,
    /// Lower levels that nevertheless break the objective: a sign of noise, or of a service that needs load.
    pub broken_below: Vec<u32>,
}

impl fmt::Display for SloLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.concurrency)?;
        match &self.next {
            Some(next) => write!(f, " ({next})")?,
            None => write!(f, " (the highest level measured)")?,
        }
        if !self.broken_below.is_empty() {
            let below: Vec<String> = self.broken_below.iter().map(u32::to_string).collect();
            write!(f, "; broken below it at {}", below.join(", "))?;
        }
        Ok(())
    }
}

/// A level that breaks a condition in one of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Breach {
    /// The level.
    pub concurrency: u32,
    /// The first condition it breaks, in the order written.
    pub objective: Objective,
    /// What was observed, in the unit of the metric; none when it was not measured.
    pub observed: Option<f64>,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { concurrency, objective, observed } = self;
        let metric = objective.metric;
        match observed {
            Some(value) => {
                let shown = metric.format_observed(*value);
                // What rounds to the limit would look as if it were kept.
                let is_limit = shown == metric.format_observed(objective.limit);
                let shown = if is_limit { metric.format(*value) } else { shown };
                write!(f, "{objective} is broken at {concurrency}: {metric} is {shown}")
            }
            None => write!(f, "{objective} cannot be said of {concurrency}: {metric} was not measured"),
        }
    }
}

/// The highest level of which every run keeps every condition.
///
/// A condition on what a run did not measure (latency without a success, uncounted errors) is not kept.
pub fn highest_keeping(levels: &Levels, slo: &Slo) -> Finding<SloLevel> {
    let levels = levels.as_slice();
    let Some(index) = levels.iter().rposition(|level| breach(level, slo).is_none()) else {
        let why = breach(&levels[0], slo).map(|breach| format!("; {breach}")).unwrap_or_default();
        return Finding::none(format!("no level keeps {slo}{why}"));
    };
    Finding::Found(SloLevel {
        concurrency: levels[index].concurrency(),
        next: levels.get(index + 1).and_then(|level| breach(level, slo)),
        broken_below: levels[..index]
            .iter()
            .filter(|level| breach(level, slo).is_some())
            .map(Level::concurrency)
            .collect(),
    })
}

fn breach(level: &Level, slo: &Slo) -> Option<Breach> {
    slo.objectives().iter().find_map(|&objective| {
        level.runs().iter().map(|run| objective.metric.of(run)).find_map(|observed| {
            let kept = observed.is_some_and(|value| objective.is_kept_by(value));
            (!kept).then_some(Breach { concurrency: level.concurrency(), objective, observed })
        })
    })
}
