//! Options of the command that sets machines up, runs payloads on them and reports.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use virtmark_fleet::bench::Via;

use super::ArchiveArguments;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  virtmark kvbench check bench.toml                is the file sound, and what is left to do?
  virtmark kvbench bench.toml                      machines, payloads, report: what is done is not done again
  virtmark kvbench bench.toml --again              all of it once more
  virtmark kvbench --via agent bench.toml          without SSH
  virtmark kvbench --ansible bench.toml | jq '{changed, failed, msg}'

A file:
  repetitions = 3
  [machines]
  count = 2
  [[payload]]
  file = \"openssl-1.0.tgz\"
  parameters = { OPENSSL_SECONDS = \"1\" }

Standard output gets one JSON object, with changed, failed and msg. Results are in the directory NAME-results beside the \
file, and in the archive.

Exit code: 0 everything is done, 3 some of it failed, 4 nothing succeeded, 31 not all machines were ready in time, 2 the file \
or a payload cannot be used. docs/kvbench.md has more.")]
pub(crate) struct KvbenchArguments {
    #[command(subcommand)]
    pub(crate) command: Option<KvbenchCommand>,

    /// The bench: a TOML file
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Option<PathBuf>,

    /// How machines are entered [default: what the file says, or ssh]
    #[arg(long, value_enum)]
    pub(crate) via: Option<ViaArgument>,

    /// Do what is done already once more
    #[arg(long)]
    pub(crate) again: bool,

    /// For automation: nothing but JSON on standard output, also when something fails; no colours, no progress
    #[arg(long)]
    pub(crate) ansible: bool,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// What to do with a file instead.
#[derive(Debug, Subcommand)]
pub(crate) enum KvbenchCommand {
    /// Check a file and its payloads, and tell what is left to do; nothing is set up
    Check {
        /// The bench: a TOML file
        file: PathBuf,
    },
}

/// How machines are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ViaArgument {
    /// By their agent: no network is needed
    Agent,
    /// By SSH
    Ssh,
}

impl ViaArgument {
    pub(crate) fn via(self) -> Via {
        match self {
            Self::Agent => Via::Agent,
            Self::Ssh => Via::Ssh,
        }
    }
}
