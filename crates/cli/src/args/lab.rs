//! Options of the lab.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::duration::parse_positive;
use crate::size::parse_memory;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark lab up --share target/debug/deps/tests-0123456789abcdef=bin/tests
  virtmark lab exec -- virtmark doctor
  virtmark lab exec -- /lab/bin/tests
  virtmark lab down")]
pub(crate) struct LabArguments {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

/// What to do with the lab.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Start the lab, which then runs on in the background
    Up(LabUpArguments),
    /// Run a program in the lab; its exit code is that of this command
    Exec {
        /// End it after this time
        #[arg(long, value_name = "TIME", value_parser = parse_positive)]
        timeout: Option<Duration>,

        /// Run it although files of the host have changed since the lab got them
        #[arg(long)]
        stale: bool,

        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
        argv: Vec<String>,
    },
    /// Copy a file into the lab
    Put {
        /// The file of this host
        source: PathBuf,
        /// Where in the lab, absolute
        target: String,
    },
    /// Copy a file out of the lab
    Get {
        /// The file of the lab, absolute
        source: String,
        /// Where on this host
        target: PathBuf,
    },
    /// Show what runs
    Status {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// End the lab
    Down,
    /// Say where KVM works: this-host when a guest ran under it here, otherwise lab
    Where {
        /// The QEMU program [default: the one in PATH]
        #[arg(long, value_name = "PROGRAM")]
        qemu: Option<PathBuf>,
    },
    /// Be the process that holds the lab (for `up`)
    #[command(hide = true)]
    Hold(LabUpArguments),
}

/// What a lab is to be.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabUpArguments {
    /// A file of this host that the lab has as /lab/PATH [default PATH: bin/NAME]; this program is there anyway
    #[arg(long, value_name = "FILE[=PATH]")]
    pub(crate) share: Vec<String>,

    /// Virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) vcpus: u32,

    /// Memory
    #[arg(long, value_name = "SIZE", default_value = "3G", value_parser = parse_memory)]
    pub(crate) memory: u64,

    /// End by itself after this time
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = parse_positive)]
    pub(crate) lifetime: Duration,

    /// The QEMU program [default: the one in PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) qemu: Option<PathBuf>,
}
