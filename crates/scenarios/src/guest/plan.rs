//! How much of what is measured: profiles and their parameters.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Suite, Test};

/// A choice of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A second for each use of a tool, the least number of blocks that gives an interval, small files: all of it in less
    /// than 5 minutes, under emulation too.
    Quick,
    /// The times and sizes of the hypervisor guide, ten blocks: hours.
    Full,
}

/// What a run is asked to do, as it goes on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestPlan {
    /// Where the parameters come from, those that the user set aside.
    pub profile: Profile,
    /// What is measured.
    pub tests: Vec<Test>,
    /// Blocks: in each, every test runs once on either side.
    pub blocks: NonZeroU32,
    /// How long a tool measures, in seconds; sysbench ends earlier when it has moved all it was to move.
    pub seconds: NonZeroU32,
    /// How long iperf3 measures, in seconds.
    pub network_seconds: NonZeroU32,
    /// `--cpu-max-prime` of sysbench.
    pub prime_limit: u32,
    /// What sysbench moves in sequential tests, in bytes.
    pub memory_total_bytes: u64,
    /// Size of its blocks in sequential tests, in bytes.
    pub memory_block_bytes: u64,
    /// Size of the file or disk that fio works on, in bytes.
    pub file_bytes: u64,
    /// Operations that fio has under way at once.
    pub depth: NonZeroU32,
    /// Streams of iperf3 over TCP.
    pub streams: NonZeroU32,
    /// Packets of ping.
    pub pings: NonZeroU32,
    /// The port of iperf3's servers; absent: 5201 in guests, a free one on the host.
    pub port: Option<u16>,
}

impl GuestPlan {
    /// A profile's parameters, with the tests of these suites.
    ///
    /// The guide: `--cpu-max-prime=20000`, blocks of 1 MiB and 8 GiB in all, files of 10 GiB, 60 s and 4 streams of
    /// iperf3, 100 packets of ping. Its sysbench runs for the 10 s that sysbench has as its default, and so does its fio here.
    pub fn new(profile: Profile, suites: &[Suite]) -> Self {
        let count = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let tests = Test::ALL.into_iter().filter(|test| suites.contains(&test.suite())).collect();
        let quick = Self {
            profile,
            tests,
            blocks: count(6),
            seconds: count(1),
            network_seconds: count(1),
            prime_limit: 20_000,
            memory_total_bytes: 8 << 30,
            memory_block_bytes: 1 << 20,
            file_bytes: 64 << 20,
            depth: count(4),
            streams: count(4),
            pings: count(10),
            port: None,
        };
        match profile {
            Profile::Quick => quick,
            Profile::Full => Self {
                blocks: count(10),
                seconds: count(10),
                network_seconds: count(60),
                file_bytes: 10 << 30,
                depth: count(32),
                pings: count(100),
                ..quick
            },
        }
    }

    /// Whether any test of this suite is measured.
    pub fn has(&self, suite: Suite) -> bool {
        self.tests.iter().any(|test| test.suite() == suite)
    }
}
