//! All samples of one command, with what produced them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Environment;

/// One command's measurement: what was asked, where it ran and how it ended. Its samples are kept beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Unique name, sortable by start.
    pub id: RunId,
    /// What was measured: `tti`, `lifecycle`.
    pub scenario: String,
    /// Wall clock at the start.
    pub started_at: Timestamp,
    /// Wall clock at the end; absent while it runs, and for a run that was killed.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub status: RunStatus,
    /// The full configuration: every option with its value, defaults included.
    pub configuration: serde_json::Value,
    /// What it ran on.
    pub environment: Environment,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything that was asked for was attempted.
    Complete,
    /// An error ended it early.
    Failed,
    /// The user ended it early.
    Interrupted,
    /// It has not ended; also what remains of a run whose process was killed.
    Running,
}

impl RunStatus {
    /// The stable name used in JSON, CSV and the archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
        }
    }
}

/// The unique name of a run: `<scenario>-<UTC date>-<UTC time>-<6 hex digits>`, as in `tti-20260102-030405-a1b2c3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The name of a run that starts at `started_at`; `random` tells runs of one second apart.
    pub fn new(scenario: &str, started_at: Timestamp, random: u32) -> Self {
        let time = started_at.strftime("%Y%m%d-%H%M%S");
        Self(format!("{scenario}-{time}-{:06x}", random & 0xff_ffff))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that cannot be the name of a run.
#[derive(Debug, Error)]
#[error("{0:?} is not a run id: expected letters, digits and hyphens, such as tti-20260102-030405-a1b2c3")]
pub struct InvalidRunId(pub String);

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sound = !text.is_empty()
            && text.len() <= 128
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if sound { Ok(Self(text.into())) } else { Err(InvalidRunId(text.into())) }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_scenario_and_start() {
        let started_at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let id = RunId::new("tti", started_at, 0xffa1_b2c3);
        assert_eq!(id.as_str(), "tti-20260102-030405-a1b2c3");
        assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
    }

    #[test]
    fn paths_and_quotes_are_no_ids() {
        for text in ["", "../x", "a b", "x'y", "x/y"] {
            assert!(text.parse::<RunId>().is_err(), "{text:?} was accepted");
        }
    }
}
