//! A word for each level.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::levels::{Level, Levels};
use super::rule::rule;

/// Below this share of the best throughput a level leaves most of the capacity idle.
const UNDERUTILISED_BELOW: f64 = 0.20;

/// From this efficiency on scaling is near-linear.
const NEAR_LINEAR_FROM: f64 = 0.90;

/// From this efficiency on scaling is good.
const GOOD_FROM: f64 = 0.75;

/// p99 over this many times that of the knee is severe.
const SEVERE_P99_GROWTH: f64 = 3.5;

/// How well a level uses the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assessment {
    /// Below the knee, under 20 % of the best throughput of any level.
    Underutilised,
    /// Below the knee, efficiency at least 90 %.
    NearLinear,
    /// Below the knee, efficiency at least 75 %.
    Good,
    /// Below the knee, or without one, less efficient than that.
    StartingToSaturate,
    /// The knee itself.
    Saturated,
    /// Above the knee.
    OverSaturated,
    /// Above the knee, with a p99 over 3.5 times that of the knee; or any level without a success.
    SeverelyOverSaturated,
}

impl fmt::Display for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Underutilised => "underutilised",
            Self::NearLinear => "near-linear",
            Self::Good => "good",
            Self::StartingToSaturate => "starting to saturate",
            Self::Saturated => "saturated (knee)",
            Self::OverSaturated => "over-saturated",
            Self::SeverelyOverSaturated => "severely over-saturated",
        })
    }
}

/// A level with its assessment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Assessed {
    /// The level.
    pub concurrency: u32,
    /// Its assessment.
    pub assessment: Assessment,
    /// Throughput for each request in flight, relative to the lowest level with a success: 1 is linear scaling. None
    /// when no level has a success.
    pub efficiency: Option<f64>,
}

/// Assesses every level, lowest first, in agreement with the knee that [`rule`] finds.
///
/// The limits lie halfway between the neighbouring rows of the guide's example table: efficiencies there are 94 %
/// (near-linear), 85 % (good) and 65 % (starting to saturate), shares of the best throughput 8 % (underutilised) and 32 %,
/// and p99 is 2.3 (over-saturated) and 5.3 times that of the knee (severely).
pub fn assess(levels: &Levels) -> Vec<Assessed> {
    let knee = rule(levels).found().map(|knee| knee.concurrency);
    let knee = knee.and_then(|knee| levels.as_slice().iter().find(|level| level.concurrency() == knee));
    let best = levels.as_slice().iter().map(Level::throughput).fold(0.0, f64::max);
    let base = levels.as_slice().iter().find(|level| level.throughput() > 0.0);
    let assessed = levels.as_slice().iter().map(|level| {
        let efficiency = base.map(|base| each(level) / each(base));
        let assessment = match knee {
            _ if level.throughput() <= 0.0 => Assessment::SeverelyOverSaturated,
            Some(knee) if level.concurrency() == knee.concurrency() => Assessment::Saturated,
            Some(knee) if level.concurrency() > knee.concurrency() => above(knee, level),
            _ => below(level.throughput() / best, efficiency),
        };
        Assessed { concurrency: level.concurrency(), assessment, efficiency }
    });
    assessed.collect()
}

/// Throughput for each request in flight.
fn each(level: &Level) -> f64 {
    level.throughput() / f64::from(level.concurrency())
}

fn above(knee: &Level, level: &Level) -> Assessment {
    match (knee.latency(), level.latency()) {
        (Some(knee), Some(here)) if here.p99_ns as f64 <= SEVERE_P99_GROWTH * knee.p99_ns as f64 => {
            Assessment::OverSaturated
        }
        _ => Assessment::SeverelyOverSaturated,
    }
}

fn below(share_of_best: f64, efficiency: Option<f64>) -> Assessment {
    if share_of_best < UNDERUTILISED_BELOW {
        return Assessment::Underutilised;
    }
    match efficiency {
        Some(efficiency) if efficiency >= NEAR_LINEAR_FROM => Assessment::NearLinear,
        Some(efficiency) if efficiency >= GOOD_FROM => Assessment::Good,
        _ => Assessment::StartingToSaturate,
    }
}
