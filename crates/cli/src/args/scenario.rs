//! Options of the scenarios.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::pace::at_least_one;
use super::{ArchiveArguments, EndpointArguments, MachineArguments, PaceArguments, RecordArguments};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark tti
  virtmark tti --iterations 20 --warmup 2 --cmd 'uname -a' > result.json
  virtmark tti --mode burst --iterations 8
  virtmark tti --mode staggered --stagger 500ms --iterations 30 --concurrency 10
  virtmark tti --mode open-loop --rate 2 --duration 30s
  virtmark tti --hypervisor native
  virtmark tti --endpoint http://127.0.0.1:8080
  virtmark tti --record machines.store --record-interval 100ms

The JSON object on standard output has the percentiles in nanoseconds, the phases, failures by class, \
and everything that the figures depend on. A command that fails in the guest is a result: its exit code \
is counted in exit_codes. Concurrent modes work in waves: all machines of a wave stay until the last of \
them is ready, and are then destroyed, which is not counted. In open-loop mode launches come at a fixed rate and times \
count from the intended launch: a platform that cannot keep up shows.")]
pub(crate) struct TtiArguments {
    #[command(flatten)]
    pub(crate) pace: PaceArguments,

    /// The command that each machine runs, for its shell
    #[arg(long = "cmd", value_name = "COMMAND", default_value = "echo \"benchmark\"")]
    pub(crate) command: String,

    /// How long one machine may take, from the request to create to the command's output
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) endpoint: EndpointArguments,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,

    #[command(flatten)]
    pub(crate) record: RecordArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark restore
  virtmark restore --endpoint http://127.0.0.1:8080 --iterations 50
  virtmark restore --mode burst --iterations 10 --working-set 0

A fixture, which is not timed, makes the snapshot: a machine is created, a change is made in its guest, the snapshot is \
taken, the machine destroyed. Each iteration then restores it (restore_only) and runs a command that must see the \
change (restore_tti). At last a few machines read a working set that the fixture left in guest memory, with the \
snapshot in the host's page cache and without.")]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    pub(crate) pace: PaceArguments,

    /// How long one machine may take, from the request to restore to the command's output
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    /// Memory of the guest that is filled, and read after a restore; 0M leaves that out
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = crate::size::parse)]
    pub(crate) working_set: u64,

    /// How often the working set is read, for each state of the page cache [default: 5; in turns, once a block at least]
    #[arg(long, value_name = "N")]
    pub(crate) working_set_iterations: Option<u32>,

    #[command(flatten)]
    pub(crate) endpoint: EndpointArguments,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,

    #[command(flatten)]
    pub(crate) record: RecordArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark lifecycle
  virtmark lifecycle --iterations 30 --format csv > lifecycle_results.csv

Each iteration takes one machine through create, start, snapshot, restore (of a second machine from that \
snapshot), stop and destroy. What the platform cannot do is skipped, and says why. Medians are graded \
against the lifecycle targets of the hypervisor guide.")]
pub(crate) struct LifecycleArguments {
    /// How often each operation is measured
    #[arg(long, value_name = "N", default_value = "10", value_parser = at_least_one)]
    pub(crate) iterations: NonZeroU32,

    /// Machines before them that are not recorded
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) warmup: u32,

    /// How long a machine may take to answer after start or restore, and to stop by itself
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    /// What standard output gets: json, or csv rows of hypervisor,operation,milliseconds
    #[arg(long, value_enum, default_value_t = LifecycleFormat::Json)]
    pub(crate) format: LifecycleFormat,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,

    #[command(flatten)]
    pub(crate) record: RecordArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LifecycleFormat {
    Json,
    Csv,
}
