//! Options of the scenarios.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};
use virtmark_scenarios::tti::Mode;

use super::{ArchiveArguments, MachineArguments, RecordArguments};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark tti
  virtmark tti --iterations 20 --warmup 2 --cmd 'uname -a' > result.json
  virtmark tti --mode burst --iterations 8
  virtmark tti --mode staggered --stagger 500ms --iterations 30 --concurrency 10
  virtmark tti --hypervisor native
  virtmark tti --record machines.store --record-interval 100ms

The JSON object on standard output has the percentiles in nanoseconds, the phases, failures by class, \
and everything that the figures depend on. A command that fails in the guest is a result: its exit code \
is counted in exit_codes. Concurrent modes work in waves: all machines of a wave stay until the last of \
them is ready, and are then destroyed, which is not counted.")]
pub(crate) struct TtiArguments {
    /// Machines to measure
    #[arg(long, value_name = "N", default_value = "50", value_parser = at_least_one)]
    pub(crate) iterations: NonZeroU32,

    /// Machines before them that are not recorded
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) warmup: u32,

    /// The command that each machine runs, for its shell
    #[arg(long = "cmd", value_name = "COMMAND", default_value = "echo \"benchmark\"")]
    pub(crate) command: String,

    /// How long one machine may take, from the request to create to the command's output
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    /// How machines follow each other
    #[arg(long, value_enum, default_value_t = ModeChoice::Sequential)]
    pub(crate) mode: ModeChoice,

    /// Machines alive at once, at most, in burst and staggered mode [default: all of them]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) concurrency: Option<NonZeroU32>,

    /// Between two launches in staggered mode [default: 200ms]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    pub(crate) stagger: Option<Duration>,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,

    #[command(flatten)]
    pub(crate) record: RecordArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// How machines follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeChoice {
    /// Each after the one before it is destroyed
    Sequential,
    /// Each a fixed time after the one before it
    Staggered,
    /// All at once
    Burst,
}

impl From<ModeChoice> for Mode {
    fn from(choice: ModeChoice) -> Self {
        match choice {
            ModeChoice::Burst => Self::Burst,
            ModeChoice::Sequential => Self::Sequential,
            ModeChoice::Staggered => Self::Staggered,
        }
    }
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

/// A count of which there must be one.
fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {}", u32::MAX))
}
