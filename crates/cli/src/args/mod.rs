//! The command line as the user writes it.

mod capture;
mod compare;
mod endpoint;
mod guest;
mod image;
mod kvbench;
mod kvrun;
mod lab;
mod machine;
mod migrate;
mod names;
mod pace;
mod payload;
mod plan;
mod plot;
mod record;
mod results;
mod scenario;
mod series;
mod serve;
mod suite;
mod sweep;
mod vmrun;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use capture::CaptureArguments;
pub(crate) use compare::{AaArguments, CertaintyArguments, CompareArguments, CompareFormat, TuneArguments};
pub(crate) use endpoint::{EndpointArguments, TOKEN_VARIABLE};
pub(crate) use guest::GuestArguments;
pub(crate) use image::{ImageArguments, ImageCommand, KernelArguments, KernelChoice, RecipeName};
pub(crate) use kvbench::{KvbenchArguments, KvbenchCommand};
pub(crate) use kvrun::{KvrunArguments, KvrunCommand, KvrunUpArguments};
pub(crate) use lab::{LabArguments, LabCommand, LabUpArguments};
pub(crate) use machine::{Accel, Driver, MachineArguments};
pub(crate) use migrate::{MigrateArguments, MigrateFormat};
pub(crate) use names::command_line;
pub(crate) use pace::PaceArguments;
pub(crate) use payload::{
    PayloadArguments, PayloadCommand, PayloadLimits, PayloadLintArguments, PayloadPackArguments,
    PayloadRunArguments,
};
pub(crate) use plan::{
    PlanArguments, PlanBenchArguments, PlanCommand, PlanExecutorArguments, PlanRunArguments, RedisArguments,
};
pub(crate) use plot::{PlotArguments, PlotFormat};
pub(crate) use record::RecordArguments;
pub(crate) use results::{
    DoctorArguments, ExportArguments, ExportFormat, ImportArguments, ImportFormat, RemoveArguments,
    ReportArguments, ReportFormat, RunsArguments, ShowArguments,
};
pub(crate) use scenario::{LifecycleArguments, LifecycleFormat, RestoreArguments, TtiArguments};
pub(crate) use series::{
    BenchArguments, DumpArguments, DumpFormat, PushArguments, QueryArguments, QueryFormat, RangeChoice,
    SeriesArguments, SeriesCommand, ServeArguments,
};
pub(crate) use serve::{ServiceArguments, StartChoice};
pub(crate) use suite::{SuiteArguments, SuiteCommand, SuiteRunArguments};
pub(crate) use sweep::{LocationChoice, PerRequestChoice, SweepArguments, TargetArguments};
pub(crate) use vmrun::{LoginArguments, VmrunArguments};

const ABOUT: &str =
    "Measure virtual machines: how long until one answers, and what each part of that time was.";

const LONG_ABOUT: &str = "\
Measure virtual machines: how long until one answers, and what each part of that time was.

Results go to standard output for machines (JSON), and to standard error for people (bars, tables). \
Every sample is kept in an archive before the next measurement starts, and can be shown, exported and reported again.";

const EXAMPLES: &str = "\
Examples:
  virtmark doctor                              is this host fit to measure on?
  virtmark tti                                 time to interactive, 50 machines one after the other
  virtmark tti --mode burst --iterations 8     eight machines at once
  virtmark tti --hypervisor native             the same command on the bare host: the baseline
  virtmark serve                               sandboxes over HTTP, started from a template
  virtmark tti --endpoint http://HOST:PORT     the same time, of any service with such an API
  virtmark restore                             how long until a snapshot answers again
  virtmark lifecycle --format csv              create, start, snapshot, restore, stop, destroy
  virtmark guest cpu                           what computing inside costs beside the bare host
  virtmark migrate --memory 1024 --load none   move a running machine, and see how long it stood still
  virtmark sweep                               where concat_plan saturates on 4 vCPUs
  virtmark suite run quick                     several of these in one go, for one report
  virtmark show latest                         the figures of the newest run, computed again
  virtmark compare RUN_A RUN_B                 is B worse than A? with an exit code for CI
  virtmark report latest -o report.html        one self-contained page
  virtmark series query STORE cpu_load         what a machine recorded, second by second
  virtmark payload new mine                    a program for many machines, to be packed and linted
  virtmark vmrun -H machines mine-0.1.tgz      a payload on many machines at once
  virtmark kvrun -n 3                          three machines to enter by SSH, until Ctrl-C
  virtmark kvbench bench.toml                  machines, payloads and report from one file

Environment:
  VIRTMARK_ARCHIVE   file in which runs are kept (or --archive)
  VIRTMARK_CACHE     directory for images
  VIRTMARK_RUN_DIR   directory for sockets and logs of machines
  VIRTMARK_SCRATCH   directory for snapshots and guest memory
  VIRTMARK_TOKEN     bearer token of a sandbox service (or --token)
  NO_COLOR           neither colours nor bars";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "virtmark", version = env!("VIRTMARK_VERSION"), about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", crate::exit::help()))]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Show neither progress nor tables; errors and results stay
    #[arg(short, long, global = true, display_order = 100)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the time to interactive: from the request to create a machine to its first command's output
    Tti(TtiArguments),
    /// Measure restoring a snapshot: the restore alone, and until a machine answers that has what was in it
    Restore(RestoreArguments),
    /// Measure create, start, snapshot, restore, stop and destroy, each by itself
    Lifecycle(LifecycleArguments),
    /// Move running machines to another process: how long it takes, how long they stand still, whether they are the same
    Migrate(Box<MigrateArguments>),
    /// Measure what monitoring keeps of machines that live for seconds
    Capture(CaptureArguments),
    /// Measure what running inside costs: sysbench, fio, iperf3 in a guest beside the same on the bare host
    Guest(Box<GuestArguments>),
    /// Find where a service saturates: throughput and latency at rising levels of load, in a machine of known size
    Sweep(Box<SweepArguments>),
    /// Run a file of measurements in one go, check one, or see those that are built in
    Suite(SuiteArguments),
    /// Tell whether a run is worse than another, or let two configurations take turns
    Compare(Box<CompareArguments>),
    /// Compare one configuration with itself: how often is a difference found where there is none?
    Aa(AaArguments),
    /// Measure what a remedy does: huge pages, pinning, direct I/O, longer queues, another CPU model
    Tune(TuneArguments),
    /// Offer sandboxes over HTTP: create, exec, snapshot, restore, destroy
    Serve(ServiceArguments),
    /// List the runs in the archive
    Runs(RunsArguments),
    /// Show a run's figures, computed again from its stored samples
    Show(ShowArguments),
    /// Write a run out with all its samples
    Export(ExportArguments),
    /// Take runs into the archive that were exported, here or by the ComputeSDK benchmarks
    Import(ImportArguments),
    /// Make a self-contained HTML page, or Markdown, about one or several runs, or a suite
    Report(ReportArguments),
    /// Remove runs with their samples from the archive
    Remove(RemoveArguments),
    /// Check whether this host is fit to measure on
    Doctor(DoctorArguments),
    /// Build, list, inspect and remove guest images
    Image(ImageArguments),
    /// Look into time-series stores, and measure what recording into one costs
    Series(SeriesArguments),
    /// Run, check and bench the small plans of work that a sweep drives
    Plan(PlanArguments),
    /// Draw a sweep: throughput and latency by level, the knee, and how it grows with the size
    Plot(PlotArguments),
    /// Make, check and try payloads: programs that are packed to be run on many machines
    Payload(PayloadArguments),
    /// Run a payload on many machines and bring everything home
    Vmrun(VmrunArguments),
    /// Set up machines for others to use, and destroy them afterwards
    Kvrun(Box<KvrunArguments>),
    /// Set up machines, run payloads on them and report, as one file says; what is done is not done again
    Kvbench(KvbenchArguments),
    /// Keep a machine with KVM inside, on hosts without (docs/lab.md)
    #[command(hide = true)]
    Lab(LabArguments),
    /// Print the completion script of a shell
    Completions(CompletionsArguments),
    /// Write the man pages to a directory
    Man(ManArguments),
}

/// Commands that measure, and so can be steps of a suite.
pub(crate) const MEASURES: [&str; 7] =
    ["tti", "restore", "lifecycle", "guest", "migrate", "capture", "sweep"];

impl Command {
    /// Where its run is kept; none for commands that are not among [`MEASURES`].
    pub(crate) fn archive_mut(&mut self) -> Option<&mut ArchiveArguments> {
        match self {
            Self::Capture(options) => Some(&mut options.archive),
            Self::Guest(options) => Some(&mut options.archive),
            Self::Lifecycle(options) => Some(&mut options.archive),
            Self::Migrate(options) => Some(&mut options.archive),
            Self::Restore(options) => Some(&mut options.archive),
            Self::Sweep(options) => Some(&mut options.archive),
            Self::Tti(options) => Some(&mut options.archive),
            _ => None,
        }
    }

    /// Whether it looks at the host and the machines on it, or only at its own definition.
    pub(crate) fn touches_host(&self) -> bool {
        match self {
            Self::Completions(_) | Self::Man(_) | Self::Plan(_) | Self::Plot(_) => false,
            Self::Kvbench(options) => options.command.is_none(),
            Self::Payload(options) => matches!(options.command, PayloadCommand::Run(_)),
            Self::Suite(options) => matches!(options.command, SuiteCommand::Run(_)),
            _ => true,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  virtmark completions bash > ~/.local/share/bash-completion/completions/virtmark"
)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  virtmark man ~/.local/share/man/man1")]
pub(crate) struct ManArguments {
    /// The directory, made where there is none
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Where runs are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Archive")]
pub(crate) struct ArchiveArguments {
    /// The archive [default: ~/.local/share/virtmark/archive.sqlite]
    #[arg(long, value_name = "FILE")]
    pub(crate) archive: Option<PathBuf>,

    /// The step of a suite that the run is, which no option says.
    #[arg(skip)]
    pub(crate) step: Option<StepOfSuite>,
}

/// What a run that is a step of a suite has on record instead of the program's own command line.
#[derive(Clone, Debug)]
pub(crate) struct StepOfSuite {
    /// The command that does the same by itself.
    pub(crate) command_line: Vec<String>,
    /// The suite and the step in it.
    pub(crate) place: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }
}
