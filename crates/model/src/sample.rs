//! One raw measurement.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Outcome, Phase};

/// One raw measurement, or the failure or skip that stands in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Position in its run, from 0, over all metrics.
    pub seq: u64,
    /// What was measured: `tti`, `vm_creation`, `restore`.
    pub metric: String,
    /// The unit of the value.
    pub unit: Unit,
    /// Host monotonic nanoseconds from the start of the run to the start of this measurement.
    pub started_ns: u64,
    /// The value, the failure, or the reason for the skip.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The value taken apart, when it is a time; of a failure, the phases passed before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// What tells this sample from others of its metric: machine, concurrency, block.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The unit of a sample's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// A count of things.
    Count,
    /// Nanoseconds.
    Ns,
    /// Events per second.
    PerSecond,
    /// A dimensionless ratio.
    Ratio,
}

impl Unit {
    /// All of them, alphabetically.
    pub const ALL: [Self; 6] =
        [Self::Bytes, Self::BytesPerSecond, Self::Count, Self::Ns, Self::PerSecond, Self::Ratio];

    /// The stable name used in JSON, CSV and the archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::Count => "count",
            Self::Ns => "ns",
            Self::PerSecond => "per_second",
            Self::Ratio => "ratio",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A name that is no unit.
#[derive(Debug, Error)]
#[error("unknown unit {0:?}")]
pub struct UnknownUnit(pub String);

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name).ok_or_else(|| UnknownUnit(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FailureClass;

    #[test]
    fn the_json_form_is_flat_and_reads_back() {
        let sample = Sample {
            seq: 4,
            metric: "tti".into(),
            unit: Unit::Ns,
            started_ns: 12,
            outcome: Outcome::Failure {
                class: FailureClass::GuestSilent,
                message: "no answer in 90 s".into(),
            },
            phases: vec![Phase { name: "prepare".into(), start_ns: 0, duration_ns: 5 }],
            labels: BTreeMap::from([("machine".into(), "m3".into())]),
        };
        let json = serde_json::to_value(&sample).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "seq": 4, "metric": "tti", "unit": "ns", "started_ns": 12,
                "outcome": "failure", "class": "guest_silent", "message": "no answer in 90 s",
                "phases": [{"name": "prepare", "start_ns": 0, "duration_ns": 5}],
                "labels": {"machine": "m3"},
            })
        );
        assert_eq!(serde_json::from_value::<Sample>(json).unwrap(), sample);
    }

    #[test]
    fn units_read_back() {
        for unit in Unit::ALL {
            assert_eq!(unit.as_str().parse::<Unit>().unwrap(), unit);
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.as_str());
        }
        assert!("furlong".parse::<Unit>().is_err());
    }
}
