//! Options of `virtmark capture`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ArchiveArguments, MachineArguments};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark capture
  virtmark capture --duration 45 --store results/vmm_metrics
  virtmark capture --duration 15,30,45 --repeat 3 --scrape-interval 15s

Each machine runs a workload of four phases (CPU burst 28 %, idle 17 %, I/O 28 %, mixed the rest) whose length comes
from its kernel command line. It is recorded from its first second into a time-series store; beside that a real
Prometheus on loopback scrapes the same figures, where it is installed. The table shows what each of them has kept.")]
pub(crate) struct CaptureArguments {
    /// Lengths of the workload in seconds, one machine each
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', default_values = ["15", "30", "45"])]
    pub(crate) duration: Vec<NonZeroU32>,

    /// How often all of them are lived through
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) repeat: NonZeroU32,

    /// Between two points of the recorder
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::duration::parse_positive)]
    pub(crate) interval: Duration,

    /// Between two scrapes of Prometheus
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = crate::duration::parse_positive)]
    pub(crate) scrape_interval: Duration,

    /// Keep the recorded store in this directory [default: it is removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// How long a guest may take to answer, and its workload beyond its length
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}
