//! Moving a running machine to another process: what is asked for, and what came of it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use virtmark_model::Timeline;

/// How a running machine is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// When memory is copied, and by how many connections.
    pub mode: MigrationMode,
    /// What the two processes are connected by.
    pub channel: MigrationChannel,
    /// Most that is sent in a second; what the platform does by itself when absent.
    pub max_bandwidth_bytes: Option<u64>,
    /// The guest is stopped for the rest when that is expected to take no longer; the platform's own when absent.
    pub downtime_limit_ms: Option<u64>,
    /// How long memory may be copied while the guest runs. A guest that is still ahead then stays where it is.
    pub timeout: Duration,
}

/// When memory is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationMode {
    /// Before the guest goes over, by several connections.
    Multifd,
    /// The guest goes over after one pass, and what is missing there follows as it is touched.
    PostCopy,
    /// Before the guest goes over, as often as it changes.
    #[default]
    PreCopy,
}

/// What connects the two processes of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationChannel {
    /// TCP on the loopback interface.
    Tcp,
    /// A pair of Unix sockets without a name.
    #[default]
    Unix,
}

/// A machine that was moved.
#[derive(Clone, Debug)]
pub struct Migrated {
    /// The whole move. Phases: `prepare`, `spawn`, `setup`, `copy` until the guest stood still, `switch` until its agent
    /// answered at the destination, `finish` until nothing is left to copy, `remove` until the source is gone.
    pub timeline: Timeline,
    /// When the agent first answered at the destination.
    pub answered_at: Instant,
    /// What the platform says that it did.
    pub figures: MigrationFigures,
}

/// What a platform says of a migration. What it does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MigrationFigures {
    /// How long the guest stood still, in milliseconds.
    pub downtime_ms: Option<u64>,
    /// How long the migration took, in milliseconds.
    pub total_ms: Option<u64>,
    /// What was sent, in bytes.
    pub transferred_bytes: Option<u64>,
    /// How fast, in bytes per second, as the platform counts it.
    pub throughput_bytes: Option<f64>,
    /// How often memory was gone through.
    pub rounds: Option<u64>,
    /// The most that the guest wrote in a second while it was copied, in bytes.
    pub dirty_rate_bytes: Option<u64>,
    /// Pages that were sent with their content.
    pub normal_pages: Option<u64>,
    /// Pages of nothing but zeros.
    pub zero_pages: Option<u64>,
    /// The limit of the bandwidth that held, in bytes per second.
    pub max_bandwidth_bytes: Option<u64>,
    /// The limit of the downtime that held, in milliseconds.
    pub downtime_limit_ms: Option<u64>,
}

impl MigrationMode {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::PreCopy, Self::PostCopy, Self::Multifd];

    /// The name used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Multifd => "multifd",
            Self::PostCopy => "post-copy",
            Self::PreCopy => "pre-copy",
        }
    }
}

impl MigrationChannel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Unix, Self::Tcp];

    /// The name used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }
}

impl fmt::Display for MigrationMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Display for MigrationChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for MigrationMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no way to migrate: use pre-copy, post-copy or multifd"))
    }
}

impl FromStr for MigrationChannel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|channel| channel.as_str() == text);
        found.ok_or_else(|| format!("{text:?} connects no machines: use unix or tcp"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for mode in MigrationMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for channel in MigrationChannel::ALL {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
        assert!("warm".parse::<MigrationMode>().is_err() && "rdma".parse::<MigrationChannel>().is_err());
    }
}
