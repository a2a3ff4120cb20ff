//! All methods at once, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::assess::{Assessed, assess};
use super::finding::Finding;
use super::kneedle::{DEFAULT_SENSITIVITY, KneedleKnee, kneedle};
use super::levels::Levels;
use super::objective::Slo;
use super::rule::{RuleKnee, rule};
use super::slo::{SloLevel, highest_keeping};
use super::usl::UslFit;
use crate::{DEFAULT_RESAMPLES, DEFAULT_SEED};

/// How to analyse; [`Options::default`] unless there is a reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The objective to keep, if there is one.
    pub slo: Option<Slo>,
    /// Kneedle's sensitivity S, at least 0.
    pub sensitivity: f64,
    /// Bootstrap resamples for the interval of the law's peak, at least 40.
    pub resamples: u32,
    /// Seed of these resamples.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { slo: None, sensitivity: DEFAULT_SENSITIVITY, resamples: DEFAULT_RESAMPLES, seed: DEFAULT_SEED }
    }
}

/// Everything that is said of the levels of one sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Every level, lowest first, with its assessment.
    pub levels: Vec<Assessed>,
    /// The knee by the rule.
    pub rule: Finding<RuleKnee>,
    /// The knee by Kneedle.
    pub kneedle: Finding<KneedleKnee>,
    /// The Universal Scalability Law.
    pub usl: Finding<UslFit>,
    /// The objective asked for.
    pub slo: Option<Slo>,
    /// The highest level that keeps it; none when there was no objective.
    pub slo_level: Option<Finding<SloLevel>>,
    /// Where to run.
    pub recommendation: Finding<Recommendation>,
}

/// A method that finds a knee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// [`kneedle`](fn@super::kneedle).
    Kneedle,
    /// [`rule`](fn@super::rule).
    Rule,
    /// The peak of the Universal Scalability Law.
    UslPeak,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kneedle => "Kneedle",
            Self::Rule => "the rule",
            Self::UslPeak => "the peak of the Universal Scalability Law",
        })
    }
}

/// A range of concurrency with headroom: 50 to 75 % of the knee.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Lower end: half of the knee, rounded up.
    pub from: u32,
    /// Upper end: three quarters of the knee, rounded down, but not below `from`.
    pub to: u32,
    /// The method whose knee it is: the first that found one of the rule, Kneedle, and the law's peak.
    pub method: Method,
    /// The knee.
    pub knee: f64,
    /// The highest level that keeps the objective, where the range had to be lowered to it.
    pub limited_by_slo: Option<u32>,
}

impl fmt::Display for Recommendation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, method, knee, limited_by_slo } = self;
        if from == to {
            write!(f, "run at a concurrency of {from}")?;
        } else {
            write!(f, "run at a concurrency of {from} to {to}")?;
        }
        write!(f, " (50 to 75 % of {knee:.0}, the knee by {method}")?;
        match limited_by_slo {
            Some(level) => write!(f, "; lowered to {level}, the highest level that keeps the objective)"),
            None => f.write_str(")"),
        }
    }
}

/// Asks every method, and recommends a range.
pub fn analyse(levels: &Levels, options: &Options) -> Analysis {
    let rule = rule(levels);
    let kneedle = kneedle(levels, options.sensitivity);
    let usl = UslFit::new(levels, options.resamples, options.seed);
    let slo_level = options.slo.as_ref().map(|slo| highest_keeping(levels, slo));
    let knees = [
        (Method::Rule, rule.found().map(|knee| f64::from(knee.concurrency))),
        (Method::Kneedle, kneedle.found().map(|knee| f64::from(knee.concurrency))),
        (Method::UslPeak, usl.found().and_then(|law| law.peak.found()).map(|peak| peak.concurrency)),
    ];
    let knee = knees.into_iter().find_map(|(method, knee)| Some((method, knee?)));
    Analysis {
        recommendation: recommend(knee, slo_level.as_ref()),
        levels: assess(levels),
        rule,
        kneedle,
        usl,
        slo: options.slo.clone(),
        slo_level,
    }
}

fn recommend(knee: Option<(Method, f64)>, slo: Option<&Finding<SloLevel>>) -> Finding<Recommendation> {
    let Some((method, knee)) = knee else {
        return Finding::none("no method found a knee");
    };
    // A knee is at least 1 and at most a level's concurrency.
    let from = (knee * 0.5).ceil() as u32;
    let to = ((knee * 0.75) as u32).max(from);
    let slo = match slo {
        Some(Finding::NoneInRange { reason }) => return Finding::none(reason.clone()),
        Some(Finding::Found(level)) => Some(level.concurrency).filter(|&level| level < to),
        None => None,
    };
    let highest = slo.unwrap_or(to);
    Finding::Found(Recommendation { from: from.min(highest), to: highest, method, knee, limited_by_slo: slo })
}
