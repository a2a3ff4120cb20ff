//! Options of the commands about plans.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark plan list
  echo '{\"user_id\": 1}' | virtmark plan run concat_plan
  virtmark plan bench concat_plan --iterations 10000 --concurrency 4
  virtmark plan check my_plan.json
  virtmark plan seed --redis 127.0.0.1:6379 && virtmark plan run reels_plan_a < /dev/null

A plan is a small graph of work (rows from the plan or from a Redis, concatenated, filtered, scored, waited for) that \
a sweep drives to see where a machine saturates. PLAN is the name of one that is built in, or a JSON file.")]
pub(crate) struct PlanArguments {
    #[command(subcommand)]
    pub(crate) command: PlanCommand,
}

/// What to do with a plan.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// List the plans that are built in
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Read a plan file and say what is wrong with it, and where
    Check {
        /// The plan file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Run a plan once, with a JSON object from standard input, and print its rows
    Run(PlanRunArguments),
    /// Call a plan again and again, and print throughput and latencies
    Bench(PlanBenchArguments),
    /// Fill a Redis with the data that reels_plan_a reads
    Seed {
        #[command(flatten)]
        redis: RedisArguments,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  echo '{\"user_id\": 1}' | virtmark plan run concat_plan")]
pub(crate) struct PlanRunArguments {
    /// Name of a plan that is built in, or a plan file
    #[arg(value_name = "PLAN")]
    pub(crate) plan: String,

    /// The request, in place of standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,

    #[command(flatten)]
    pub(crate) executor: PlanExecutorArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark plan bench concat_plan --iterations 10 --concurrency 4
  virtmark plan bench parallel_sleep_plan --iterations 50 --sync | jq .p50_us

Prints a JSON object. Latencies are those of calls that succeeded; percentiles are observed, not interpolated.")]
pub(crate) struct PlanBenchArguments {
    /// Name of a plan that is built in, or a plan file
    #[arg(value_name = "PLAN")]
    pub(crate) plan: String,

    /// Calls that count, of all callers together
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) iterations: NonZeroU64,

    /// Callers at once, each with one call under way
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) concurrency: NonZeroUsize,

    /// Calls before those, which do not count
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) warmup: u64,

    /// The request [default: an empty object: the defaults of the plan]
    #[arg(long, value_name = "JSON", conflicts_with = "inputs")]
    pub(crate) input: Option<String>,

    /// Requests, one a line, taken in turn; one that does not fit counts as a failed call
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) executor: PlanExecutorArguments,
}

/// How plans are run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Execution")]
pub(crate) struct PlanExecutorArguments {
    /// Run one node after the other; without this, nodes that do not need each other overlap
    #[arg(long)]
    pub(crate) sync: bool,

    /// Nodes that may calculate at the same time [default: the processors of this host]
    #[arg(long, value_name = "N")]
    pub(crate) cpu_threads: Option<NonZeroUsize>,

    /// Nodes that may wait (sleep, read Redis) at the same time
    #[arg(long, value_name = "N", default_value_t = virtmark_plan::DEFAULT_IO_THREADS)]
    pub(crate) io_threads: NonZeroUsize,

    #[command(flatten)]
    pub(crate) redis: RedisArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RedisArguments {
    /// The Redis [default: the one that the plan names, otherwise 127.0.0.1:6379]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) redis: Option<String>,
}
