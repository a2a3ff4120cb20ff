//! Options of `virtmark suite`.

use clap::{Args, Subcommand};

use super::ArchiveArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark suite run quick
  virtmark suite show quick > mine.toml
  virtmark suite check mine.toml
  virtmark suite run mine.toml
  virtmark report suite-20260102-030405 -o report.html

A suite is a TOML file: [suite] with its name and order, and a [[step]] for each measurement, whose keys are the flags \
of the command that it runs. docs/suite.md has all of it.")]
pub(crate) struct SuiteArguments {
    #[command(subcommand)]
    pub(crate) command: SuiteCommand,
}

/// What to do with a suite.
#[derive(Debug, Subcommand)]
pub(crate) enum SuiteCommand {
    /// Run the steps of a suite, one after the other
    Run(SuiteRunArguments),
    /// Say everything that is wrong with a suite file, or what it would run
    Check(SuiteCheckArguments),
    /// Write out the file of a suite that is built in
    Show(SuiteShowArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark suite run quick
  virtmark suite run suites/standard.toml
  virtmark suite run mine.toml --resume suite-20260102-030405

Each step makes a run of its own in the archive, and the suite one more, whose id ties them together: virtmark report \
takes it. A step that fails is recorded, and the others go on unless the suite says stop_on_failure = true. Ctrl-C keeps \
what is done; --resume runs what is left, and what failed without any result. The exit code is 0 when all steps ended \
with 0, 3 when some did, otherwise that of the steps when they agree, and 4 when they do not; with --resume, steps of \
earlier parts count too.")]
pub(crate) struct SuiteRunArguments {
    /// The suite: quick, standard, or a file
    #[arg(value_name = "FILE")]
    pub(crate) suite: String,

    /// Go on with an interrupted suite: its id, or the start of it
    #[arg(long, value_name = "SUITE_ID")]
    pub(crate) resume: Option<String>,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  virtmark suite check mine.toml | jq -c '.schedule[].command'

Prints what would be run, in order, as JSON. Mistakes go to standard error, all at once, as FILE:LINE:COLUMN: \
MESSAGE, and the exit code is 2.")]
pub(crate) struct SuiteCheckArguments {
    /// The suite: quick, standard, or a file
    #[arg(value_name = "FILE")]
    pub(crate) suite: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  virtmark suite show standard > mine.toml")]
pub(crate) struct SuiteShowArguments {
    /// The name of the suite
    #[arg(value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(virtmark_suite::builtin_names()))]
    pub(crate) name: String,
}
