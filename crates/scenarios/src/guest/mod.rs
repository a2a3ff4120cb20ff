//! What running inside costs: measuring tools in a guest and the same tools on the bare host, in alternation.
//!
//! A run is made of blocks. In each, every test runs once in a guest and once on the host, which has as many CPUs and, where
//! that is permitted, as much memory; the order changes from block to block. So both sides see the same slow drifts of the
//! machine, and a block gives one ratio. Figures are medians over blocks.
//!
//! Metrics: those of [`Test::metrics`], with the labels `test`, `tool`, `tool_version`, `side`, `block` and `order`;
//! `memory_overhead_bytes` and `storage_overhead_bytes` with their two parts; `exec_round_trip`, the way to a side and back;
//! `time_prepare`, `time_tools` and `time_harness`, which the run took; `host_cpus` and `host_memory_limit`.

mod blocks;
mod drive;
mod failure;
mod figures;
mod grade;
mod limits;
mod line;
mod machines;
mod network;
mod overhead;
pub mod parse;
mod plan;
mod reading;
mod report;
mod session;
mod side;
mod storage;
mod test;

use std::path::PathBuf;

use virtmark_hypervisor::MachineSpec;

pub use grade::Grade;
pub use limits::HostLimits;
pub use overhead::{Field, Graded, Overhead};
pub use plan::{GuestPlan, Profile};
pub use report::{GuestReport, Harness, HostLimitFacts, RatioFigures, SideFigures, TestFigures};
pub use side::Side;
pub use test::{Suite, Test, Tool, UnknownTest};

/// The name of the scenario.
pub const SCENARIO: &str = "guest";

/// A run of guest suites: what to do, and the machine to do it with.
#[derive(Debug)]
pub struct Guest {
    /// What to do.
    pub plan: GuestPlan,
    /// Machines are made like this one, under names of their own, with the disk and networks that the tests need.
    pub machine: MachineSpec,
    /// What the host's side may use.
    pub limits: HostLimits,
    /// Where fio's file on the host is made: a directory that exists, best where machines have their disks.
    pub scratch: PathBuf,
}
