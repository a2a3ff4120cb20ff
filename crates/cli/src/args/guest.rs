//! Options of `virtmark guest`.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};
use virtmark_scenarios::guest::{Profile, Suite, Test};

use super::{ArchiveArguments, MachineArguments};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark guest cpu
  virtmark guest all --vcpus 2 --memory 1G > overhead.json
  virtmark guest storage --size 256M --depth 16 --blocks 10
  virtmark guest cpu memory --only sysbench-cpu,memory-seq-read --time 5
  virtmark guest all --profile full

The real tools (sysbench, fio, iperf3, ping, openssl) run in a machine of the image bench and on the bare host, which has as \
many CPUs and, where cgroups permit it, as much memory; in turns, block by block. The result of each test is the guest's \
value as a multiple of the host's, with an interval; overheads are graded by it. The profile quick takes a few minutes, under \
emulation too; full has the times and sizes of the hypervisor guide and takes hours. docs/guest.md has all of it.

Tests: sysbench-cpu, openssl-sha256; memory-seq-read, memory-seq-write, memory-rand-read; fio-seq-read, fio-seq-write, \
fio-rand-read, fio-rand-write; iperf3-tcp, iperf3-udp, ping.")]
pub(crate) struct GuestArguments {
    /// What is measured
    #[arg(value_name = "SUITE", value_enum, required = true)]
    pub(crate) suites: Vec<SuiteChoice>,

    /// Where times, sizes and the number of blocks come from
    #[arg(long, value_enum, default_value_t = ProfileChoice::Quick)]
    pub(crate) profile: ProfileChoice,

    /// Only these tests of the suites
    #[arg(long, value_name = "TEST", value_delimiter = ',')]
    pub(crate) only: Vec<Test>,

    /// Blocks, in each of which every test runs once on either side; 6 are the least that give an interval
    #[arg(long, value_name = "N")]
    pub(crate) blocks: Option<NonZeroU32>,

    /// How long each tool measures, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: Option<NonZeroU32>,

    /// Size of the disk that fio works on, and of the file on the host
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_memory)]
    pub(crate) size: Option<u64>,

    /// Operations that fio has under way at once
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<NonZeroU32>,

    /// The port of iperf3's servers [default: 5201 in guests, a free one on the host]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// How long a guest may take to answer after its start
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SuiteChoice {
    /// Computing: sysbench and openssl
    Cpu,
    /// Moving bytes in memory: sysbench; and what the VMM holds beyond the guest
    Memory,
    /// A disk of the machine's own: fio; and what its files take beyond the guest's data
    Storage,
    /// Two machines on a network: iperf3 and ping
    Network,
    /// All of these
    All,
}

/// Where parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileChoice {
    /// A second for each tool, 6 blocks, small files
    Quick,
    /// The guide's times and sizes, 10 blocks
    Full,
}

impl SuiteChoice {
    pub(crate) fn suites(self) -> &'static [Suite] {
        match self {
            Self::All => &Suite::ALL,
            Self::Cpu => &[Suite::Cpu],
            Self::Memory => &[Suite::Memory],
            Self::Network => &[Suite::Network],
            Self::Storage => &[Suite::Storage],
        }
    }
}

impl From<ProfileChoice> for Profile {
    fn from(choice: ProfileChoice) -> Self {
        match choice {
            ProfileChoice::Full => Self::Full,
            ProfileChoice::Quick => Self::Quick,
        }
    }
}
