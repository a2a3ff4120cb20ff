//! Options of the commands that look at results and at the host.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ArchiveArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark runs
  virtmark runs --scenario tti --limit 5
  virtmark runs --json | jq -r '.[].id'")]
pub(crate) struct RunsArguments {
    /// Only runs of this scenario
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Option<String>,

    /// At most this many, newest first
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark show latest
  virtmark show tti-20260102-030405 | jq .p50_ns

Prints what the run's own command printed: JSON to standard output, tables to standard error.")]
pub(crate) struct ShowArguments {
    /// The run: its id, the start of it, or latest
    pub(crate) run: String,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark export latest --format csv > samples.csv
  virtmark export latest --format jsonl -o run.jsonl
  virtmark export latest --format computesdk > results.json")]
pub(crate) struct ExportArguments {
    /// The run: its id, the start of it, or latest
    pub(crate) run: String,

    /// What to write
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    pub(crate) format: ExportFormat,

    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One object: the run and its samples
    Json,
    /// One object a line: the run, then each sample
    Jsonl,
    /// The result format of the ComputeSDK benchmarks, with their score (runs of tti only)
    Computesdk,
    /// One row for each sample
    Csv,
    /// A page to read
    Markdown,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark import run.jsonl
  virtmark import --format computesdk results.json
  virtmark export latest --format json | virtmark import - --archive other.sqlite

Prints the ids of the runs, one a line. A file is taken in whole or not at all.")]
pub(crate) struct ImportArguments {
    /// The file; - is standard input
    pub(crate) file: PathBuf,

    /// What it is [default: what it looks like]
    #[arg(long, value_enum)]
    pub(crate) format: Option<ImportFormat>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// Results of the ComputeSDK benchmarks: a run for each of them
    Computesdk,
    /// As export --format json writes it
    Json,
    /// As export --format jsonl writes it
    Jsonl,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark report latest -o report.html
  virtmark report tti-20260102 tti-20260103 --title 'Before and after' -o comparison.html
  virtmark report suite-20260102 -o suite.html
  virtmark report suite-20260102 --format markdown -o suite.md

The id of a suite stands for all runs of its steps. docs/report.md has what is in a report.")]
pub(crate) struct ReportArguments {
    /// The runs: ids of runs or suites, starts of them, or latest
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,

    /// What to write
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub(crate) format: ReportFormat,

    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// The heading [default: the suite or the scenarios]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// One page with pictures and all samples, which loads nothing from elsewhere
    Html,
    /// The tables, for issues and wikis
    Markdown,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  virtmark remove tti-20260102-030405-a1b2c3")]
pub(crate) struct RemoveArguments {
    /// The runs: ids, starts of them, or latest
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark doctor
  virtmark doctor --json | jq '.[] | select(.status != \"good\")'")]
pub(crate) struct DoctorArguments {
    /// The QEMU program [default: qemu-system-* of this architecture in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) qemu: Option<PathBuf>,

    /// Print a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}
