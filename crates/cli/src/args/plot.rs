//! Options of the command that draws a sweep.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use virtmark_stats::knee::Slo;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark plot --in perf_results/sweep_20260125_120000.csv --out perf_results/plots
  virtmark plot --in sweep.jsonl --slo 'p99<20ms,errors<0.1%' --format svg

Writes qps_vs_concurrency, latency_vs_concurrency, qps_vs_p99, with several sizes scaling_vs_vcpus, and what is said of the \
knee as knee_summary.txt, and prints the names of the files. Of an open loop, levels are rates, which the .jsonl alone has: \
qps_vs_rate, latency_vs_rate. What the files hold is in docs/sweep-files.md.")]
pub(crate) struct PlotArguments {
    /// The .csv or .jsonl of a sweep, made here or by another tool with the same columns
    #[arg(long = "in", value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// The directory for the pictures, made where there is none [default: plots_..., beside the file]
    #[arg(long = "out", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Format of the pictures
    #[arg(long, value_enum, default_value_t = PlotFormat::Both)]
    pub(crate) format: PlotFormat,

    /// Pixels across of PNG
    #[arg(long, value_name = "PIXELS", default_value_t = 800, value_parser = clap::value_parser!(u32).range(100..=8000))]
    pub(crate) width: u32,

    /// What a level has to keep, such as p99<20ms,errors<0.1%
    #[arg(long, value_name = "OBJECTIVE")]
    pub(crate) slo: Option<Slo>,
}

/// Format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlotFormat {
    /// PNG and SVG
    Both,
    /// Pixels on white
    Png,
    /// Lines and text that follow dark mode
    Svg,
}
