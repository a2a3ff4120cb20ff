//! One run of a sweep as its files keep it: one repeat of one level.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::micros;

/// One repeat of one level.
///
/// What was not measured is none: an empty cell in CSV, `null` or no key in JSON, never 0. The fields up to
/// `timeout_killed` are the columns of the CSV, in their order; the others are in JSON lines alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// When the run started, in universal time.
    #[serde(default)]
    pub ts: Option<Timestamp>,
    /// What was driven: the name of a plan, a URL, a command line.
    pub plan: String,
    /// Virtual processors of the machine, or the processors that the target could use.
    #[serde(default)]
    pub vcpus: Option<u32>,
    /// Threads of the target's CPU pool.
    #[serde(default)]
    pub cpu_threads: Option<u32>,
    /// Threads of the target's I/O pool.
    #[serde(default)]
    pub io_threads: Option<u32>,
    /// Whether the target's scheduler was asynchronous; 1 and 0 in the files.
    #[serde(default, rename = "async", with = "flag")]
    pub asynchronous: Option<bool>,
    /// Requests in flight at once, at least 1; none in an open loop, whose level is `rate`.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// How long the run was to last, seconds.
    #[serde(default)]
    pub duration_sec: Option<f64>,
    /// Which repeat of its level, from 1.
    #[serde(default)]
    pub run_idx: Option<u32>,
    /// Requests that succeeded, per second.
    #[serde(default)]
    pub qps: Option<f64>,
    /// Median latency of the requests that succeeded, in nanoseconds; microseconds in the files, as all latencies.
    #[serde(default, rename = "p50_us", with = "micros")]
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    #[serde(default, rename = "p90_us", with = "micros")]
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    #[serde(default, rename = "p99_us", with = "micros")]
    pub p99_ns: Option<u64>,
    /// Largest latency.
    #[serde(default, rename = "max_us", with = "micros")]
    pub max_ns: Option<u64>,
    /// Peak resident memory in KiB, the unit of Linux's `getrusage`; `ru_maxrss_of` says whose.
    #[serde(default, rename = "ru_maxrss")]
    pub ru_maxrss_kib: Option<u64>,
    /// How the run's process ended: 0 is well, above 128 a signal.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Whether the run was killed because its time limit passed; 1 and 0 in the files.
    #[serde(default, with = "flag")]
    pub timeout_killed: Option<bool>,

    /// The level of an open loop: requests that were to start, per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How long the run really lasted, seconds; `qps` is by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_sec: Option<f64>,
    /// Requests that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// Requests that failed, by class; none when failures were not counted, empty when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<BTreeMap<String, u64>>,
    /// One message of each class of failure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub error_messages: BTreeMap<String, String>,
    /// Requests of an open loop that were never sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Requests of an open loop that were sent late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
    /// Median of how late the generator itself was.
    #[serde(default, rename = "lag_p50_us", with = "micros", skip_serializing_if = "Option::is_none")]
    pub lag_p50_ns: Option<u64>,
    /// 99th percentile of the same.
    #[serde(default, rename = "lag_p99_us", with = "micros", skip_serializing_if = "Option::is_none")]
    pub lag_p99_ns: Option<u64>,
    /// Largest of the same.
    #[serde(default, rename = "lag_max_us", with = "micros", skip_serializing_if = "Option::is_none")]
    pub lag_max_ns: Option<u64>,
    /// Whose memory `ru_maxrss` is: `the target's process`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ru_maxrss_of: Option<String>,
    /// Where it ran: the platform with its version and accelerator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether that was software emulation, which is then said beside every figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated: Option<bool>,
    /// What a reader has to know of this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Every latency: an HdrHistogram of nanoseconds in its V2 encoding, as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
    /// What else the sweep has to say of this run.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// The settings of the sweep, the same in each of its rows: what it takes to resume it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

impl Row {
    /// Whether its figures stand for its level: it was not killed, did not fail, and has a throughput.
    pub fn counts(&self) -> bool {
        self.timeout_killed != Some(true) && self.exit_code.unwrap_or(0) == 0 && self.qps.is_some()
    }

    /// Requests that failed; none when failures were not counted.
    pub fn failed(&self) -> Option<u64> {
        self.errors.as_ref().map(|errors| errors.values().fold(0u64, |sum, count| sum.saturating_add(*count)))
    }

    /// Share of the requests that failed or were dropped, 0 to 1; none when failures or successes were not counted, or
    /// there were no requests.
    pub fn error_ratio(&self) -> Option<f64> {
        let (completed, failed) = (self.completed? as f64, self.failed()? as f64);
        let failed = failed + self.dropped.unwrap_or(0) as f64;
        (completed + failed > 0.0).then(|| failed / (completed + failed))
    }

    /// The column that makes no sense, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let not_from_0 = |value: Option<f64>| value.filter(|value| !(0.0..=1e150).contains(value));
        if self.concurrency == Some(0) {
            return Some(("concurrency", "0 requests in flight are no load; at least 1 is".into()));
        }
        if self.run_idx == Some(0) {
            return Some(("run_idx", "runs are counted from 1".into()));
        }
        for (column, value) in
            [("duration_sec", self.duration_sec), ("elapsed_sec", self.elapsed_sec), ("qps", self.qps)]
        {
            if let Some(value) = not_from_0(value) {
                return Some((column, format!("{value} is not from 0 to 1e150")));
            }
        }
        if let Some(rate) = self.rate.filter(|rate| !(f64::MIN_POSITIVE..=1e150).contains(rate)) {
            return Some(("rate", format!("{rate} is not above 0")));
        }
        let mut lower: Option<(&str, u64)> = None;
        for (column, value) in [
            ("p50_us", self.p50_ns),
            ("p90_us", self.p90_ns),
            ("p99_us", self.p99_ns),
            ("max_us", self.max_ns),
        ] {
            let Some(value) = value else { continue };
            if let Some((other, _)) = lower.filter(|(_, lower)| *lower > value) {
                return Some((column, format!("it is below {other}; check which column is which")));
            }
            lower = Some((column, value));
        }
        None
    }
}

/// Yes and no as 1 and 0; `true` and `false` are read as well.
mod flag {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected 1, 0 or null")]
    enum Flag {
        Bool(bool),
        Number(u8),
    }

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "the shape that serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(value: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(u8::from).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
        match Option::<Flag>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Flag::Bool(value)) => Ok(Some(value)),
            Some(Flag::Number(0)) => Ok(Some(false)),
            Some(Flag::Number(1)) => Ok(Some(true)),
            Some(Flag::Number(other)) => Err(serde::de::Error::custom(format!("{other} is neither 1 nor 0"))),
        }
    }
}
