//! What is measured inside: suites, the tests in them, the tools that do them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtmark_model::Unit;
use virtmark_stats::compare::Direction;

use super::parse::fio;

/// A group of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suite {
    /// Computing.
    Cpu,
    /// Moving bytes in memory.
    Memory,
    /// A disk of the machine's own.
    Storage,
    /// Two machines on a network.
    Network,
}

impl Suite {
    /// All suites, in the order in which they are run.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Storage, Self::Network];

    /// The name in commands and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
            Self::Storage => "storage",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A measuring tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tool {
    /// The flexible I/O tester.
    Fio,
    /// Bandwidth over TCP and UDP.
    Iperf3,
    /// OpenSSL's own benchmark.
    Openssl,
    /// ICMP echoes.
    Ping,
    /// Computing and memory.
    Sysbench,
}

impl Tool {
    /// The program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fio => "fio",
            Self::Iperf3 => "iperf3",
            Self::Openssl => "openssl",
            Self::Ping => "ping",
            Self::Sysbench => "sysbench",
        }
    }

    /// Debian's package of it.
    pub fn package(self) -> &'static str {
        match self {
            Self::Ping => "iputils-ping",
            other => other.as_str(),
        }
    }

    /// What prints its version, for a shell.
    pub(super) fn version_command(self) -> &'static str {
        match self {
            Self::Fio => "fio --version",
            Self::Iperf3 => "iperf3 --version",
            Self::Openssl => "openssl version",
            Self::Ping => "ping -V",
            Self::Sysbench => "sysbench --version",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// One use of one tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Test {
    /// `sysbench cpu`: prime numbers.
    SysbenchCpu,
    /// `openssl speed`: SHA-256, a second opinion on computing.
    OpensslSha256,
    /// `sysbench memory`: blocks of 1 MiB are read one after the other.
    MemorySeqRead,
    /// The same, written.
    MemorySeqWrite,
    /// `sysbench memory`: blocks of 1 KiB are read here and there.
    MemoryRandRead,
    /// `fio`: blocks of 1 MiB are read one after the other.
    FioSeqRead,
    /// The same, written.
    FioSeqWrite,
    /// `fio`: blocks of 4 KiB are read here and there.
    FioRandRead,
    /// The same, written.
    FioRandWrite,
    /// `iperf3` over TCP, several streams.
    IperfTcp,
    /// `iperf3` over UDP, as fast as it goes.
    IperfUdp,
    /// `ping`.
    Ping,
}

impl Test {
    /// All tests, in the order in which they are run.
    pub const ALL: [Self; 12] = [
        Self::SysbenchCpu,
        Self::OpensslSha256,
        Self::MemorySeqRead,
        Self::MemorySeqWrite,
        Self::MemoryRandRead,
        Self::FioSeqRead,
        Self::FioSeqWrite,
        Self::FioRandRead,
        Self::FioRandWrite,
        Self::IperfTcp,
        Self::IperfUdp,
        Self::Ping,
    ];

    /// The name in commands and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FioRandRead => "fio-rand-read",
            Self::FioRandWrite => "fio-rand-write",
            Self::FioSeqRead => "fio-seq-read",
            Self::FioSeqWrite => "fio-seq-write",
            Self::IperfTcp => "iperf3-tcp",
            Self::IperfUdp => "iperf3-udp",
            Self::MemoryRandRead => "memory-rand-read",
            Self::MemorySeqRead => "memory-seq-read",
            Self::MemorySeqWrite => "memory-seq-write",
            Self::OpensslSha256 => "openssl-sha256",
            Self::Ping => "ping",
            Self::SysbenchCpu => "sysbench-cpu",
        }
    }

    /// The suite it belongs to.
    pub fn suite(self) -> Suite {
        match self.tool() {
            Tool::Fio => Suite::Storage,
            Tool::Iperf3 | Tool::Ping => Suite::Network,
            Tool::Openssl => Suite::Cpu,
            Tool::Sysbench if self == Self::SysbenchCpu => Suite::Cpu,
            Tool::Sysbench => Suite::Memory,
        }
    }

    /// The tool that does it.
    pub fn tool(self) -> Tool {
        match self {
            Self::FioRandRead | Self::FioRandWrite | Self::FioSeqRead | Self::FioSeqWrite => Tool::Fio,
            Self::IperfTcp | Self::IperfUdp => Tool::Iperf3,
            Self::MemoryRandRead | Self::MemorySeqRead | Self::MemorySeqWrite | Self::SysbenchCpu => {
                Tool::Sysbench
            }
            Self::OpensslSha256 => Tool::Openssl,
            Self::Ping => Tool::Ping,
        }
    }

    /// The metrics of its samples, with their units. The first is what the two sides are compared by.
    pub fn metrics(self) -> &'static [(&'static str, Unit)] {
        match self {
            Self::FioRandRead => &[
                ("fio_rand_read_iops", Unit::PerSecond),
                ("fio_rand_read_bytes_per_second", Unit::BytesPerSecond),
                ("fio_rand_read_p99", Unit::Ns),
            ],
            Self::FioRandWrite => &[
                ("fio_rand_write_iops", Unit::PerSecond),
                ("fio_rand_write_bytes_per_second", Unit::BytesPerSecond),
                ("fio_rand_write_p99", Unit::Ns),
            ],
            Self::FioSeqRead => &[
                ("fio_seq_read_bytes_per_second", Unit::BytesPerSecond),
                ("fio_seq_read_iops", Unit::PerSecond),
                ("fio_seq_read_p99", Unit::Ns),
            ],
            Self::FioSeqWrite => &[
                ("fio_seq_write_bytes_per_second", Unit::BytesPerSecond),
                ("fio_seq_write_iops", Unit::PerSecond),
                ("fio_seq_write_p99", Unit::Ns),
            ],
            Self::IperfTcp => &[
                ("iperf3_tcp_bytes_per_second", Unit::BytesPerSecond),
                ("iperf3_tcp_retransmits", Unit::Count),
            ],
            Self::IperfUdp => &[
                ("iperf3_udp_bytes_per_second", Unit::BytesPerSecond),
                ("iperf3_udp_lost", Unit::Ratio),
                ("iperf3_udp_jitter", Unit::Ns),
            ],
            Self::MemoryRandRead => &[("memory_rand_read_bytes_per_second", Unit::BytesPerSecond)],
            Self::MemorySeqRead => &[("memory_seq_read_bytes_per_second", Unit::BytesPerSecond)],
            Self::MemorySeqWrite => &[("memory_seq_write_bytes_per_second", Unit::BytesPerSecond)],
            Self::OpensslSha256 => &[("openssl_sha256_bytes_per_second", Unit::BytesPerSecond)],
            Self::Ping => &[("ping_round_trip", Unit::Ns), ("ping_lost", Unit::Ratio)],
            Self::SysbenchCpu => {
                &[("sysbench_cpu_events_per_second", Unit::PerSecond), ("sysbench_cpu_p95", Unit::Ns)]
            }
        }
    }

    /// What the two sides are compared by.
    pub fn metric(self) -> (&'static str, Unit) {
        self.metrics()[0]
    }

    /// Which values of that are better.
    pub fn better(self) -> Direction {
        if self == Self::Ping { Direction::Lower } else { Direction::Higher }
    }

    /// What fio does in it; none for other tools. Direction, whether here and there, and the size of blocks in bytes.
    pub(super) fn fio(self) -> Option<(fio::Direction, bool, u32)> {
        match self {
            Self::FioRandRead => Some((fio::Direction::Read, true, 4 << 10)),
            Self::FioRandWrite => Some((fio::Direction::Write, true, 4 << 10)),
            Self::FioSeqRead => Some((fio::Direction::Read, false, 1 << 20)),
            Self::FioSeqWrite => Some((fio::Direction::Write, false, 1 << 20)),
            _ => None,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl From<Test> for &'static str {
    fn from(test: Test) -> Self {
        test.as_str()
    }
}

/// A name that is no test.
#[derive(Debug, Error)]
#[error("there is no test {name:?}; there are {}", names())]
pub struct UnknownTest {
    /// The name.
    pub name: String,
}

fn names() -> String {
    Test::ALL.map(Test::as_str).join(", ")
}

impl FromStr for Test {
    type Err = UnknownTest;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|test| test.as_str() == name)
            .ok_or_else(|| UnknownTest { name: name.into() })
    }
}

impl TryFrom<String> for Test {
    type Error = UnknownTest;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_read_back_and_no_two_metrics_are_one() {
        let mut metrics = BTreeSet::new();
        for test in Test::ALL {
            assert_eq!(test.as_str().parse::<Test>().unwrap(), test);
            let json = serde_json::to_value(test).unwrap();
            assert_eq!(json, test.as_str());
            assert_eq!(serde_json::from_value::<Test>(json).unwrap(), test);
            for (metric, _) in test.metrics() {
                assert!(metrics.insert(metric), "{metric}");
            }
            assert_eq!(test.fio().is_some(), test.tool() == Tool::Fio);
        }
        let error = "cpu".parse::<Test>().unwrap_err().to_string();
        assert!(error.contains("sysbench-cpu") && error.contains("ping"), "{error}");
    }
}
