//! The shape of a result file, in the order of its fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// A result file. It is made by [`to_file`](super::to_file) and written with `serde_json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultFile {
    /// Version of the format.
    pub version: String,
    /// When the run started, in universal time.
    pub timestamp: String,
    /// What measured: `platform`, `arch`, and `node` of the original.
    #[serde(default)]
    pub environment: BTreeMap<String, Value>,
    /// `iterations` and `timeoutMs`.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
    /// One entry for each provider.
    pub results: Vec<ResultEntry>,
}

/// What one provider came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultEntry {
    /// Its name.
    pub provider: String,
    /// `sequential`, `staggered` or `concurrent`; some files leave it out of sequential results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Sandboxes at once; of concurrent modes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// Between two launches; of staggered mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stagger_delay_ms: Option<Ms>,
    /// From the first launch to the last sandbox ready; of concurrent modes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wall_clock_ms: Option<Ms>,
    /// From the first launch to the first sandbox ready; of concurrent modes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time_to_first_ready_ms: Option<Ms>,
    /// Launch and readiness of each success, in the order of launch; of staggered mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ramp_profile: Option<Vec<Ramp>>,
    pub(super) iterations: Vec<Iteration>,
    #[serde(default)]
    pub(super) summary: Option<SummaryOf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) composite_score: Option<Ms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) success_rate: Option<Ms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) skip_reason: Option<String>,
    /// What the format has no word for: the untrimmed figures, the platform's accelerator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtmark: Option<Value>,
}

/// One sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Iteration {
    /// 0, or absent, where there is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tti_ms: Option<Ms>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) virtmark: Option<Value>,
}

/// Launch and readiness of one sandbox, from the first launch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ramp {
    pub(super) launched_at: Ms,
    pub(super) ready_at: Ms,
    pub(super) tti_ms: Ms,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SummaryOf {
    pub(super) tti_ms: Stats,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stats {
    pub(super) median: Ms,
    pub(super) p95: Ms,
    pub(super) p99: Ms,
}

/// A number as JavaScript writes it: whole ones without a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub(super) struct Ms(pub(super) f64);

impl Serialize for Ms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 9e15 {
            return serializer.serialize_i64(self.0 as i64);
        }
        serializer.serialize_f64(self.0)
    }
}
