//! How a platform makes its machines, where that decides how fast they are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How the machines of a platform are made: what there is to tune, as it was. What is not known is absent, and nothing is
/// concluded from it. What is said of disks and of networks holds for machines that have some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineFacts {
    /// What guests read the time from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<GuestClockSource>,
    /// The CPU model, in the platform's words, with what was added to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<String>,
    /// What lies between disks and their files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_cache: Option<DiskCache>,
    /// Requests that fit into one queue of a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_queue_size: Option<u32>,
    /// Queues of each disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_queues: Option<u32>,
    /// Whether guest memory is in reserved huge pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<bool>,
    /// Whether disks have a thread of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_thread: Option<bool>,
    /// Pairs of queues, to receive and to send, of each interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_queues: Option<u32>,
    /// Buffers that fit into one queue in which an interface receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_receive_queue_size: Option<u32>,
    /// Whether each virtual CPU has a CPU of the host of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
    /// How the virtual CPUs lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// Whether the host's kernel moves the packets of networks (vhost-net).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhost: Option<bool>,
}

/// What a guest reads the time from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestClockSource {
    /// A page that KVM keeps for it.
    KvmClock,
    /// The counter of its CPU.
    Tsc,
}

/// What lies between a disk and its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskCache {
    /// Nothing: direct input and output.
    None,
    /// The host's page cache, which a flush writes back.
    Writeback,
}

/// How CPUs lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Sockets.
    pub sockets: u32,
    /// Cores of each socket.
    pub cores: u32,
    /// Threads of each core.
    pub threads: u32,
}

impl Topology {
    /// One socket, of which each CPU is a core.
    pub fn of_cores(cores: u32) -> Self {
        Self { sockets: 1, cores, threads: 1 }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sockets, cores, threads } = self;
        write!(formatter, "sockets {sockets}, cores {cores}, threads {threads}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_written_and_may_be_missing() {
        let facts = MachineFacts {
            clock: Some(GuestClockSource::KvmClock),
            disk_cache: Some(DiskCache::None),
            topology: Some(Topology::of_cores(2)),
            ..MachineFacts::default()
        };
        let text = serde_json::to_string(&facts).unwrap();
        let expected =
            r#"{"clock":"kvm-clock","disk_cache":"none","topology":{"sockets":1,"cores":2,"threads":1}}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<MachineFacts>(&text).unwrap(), facts);
        assert_eq!(serde_json::from_str::<MachineFacts>("{}").unwrap(), MachineFacts::default());
    }
}
