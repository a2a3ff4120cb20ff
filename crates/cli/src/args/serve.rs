//! Options of `virtmark serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::MachineArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark serve
  virtmark serve --start warm --warm 8 --memory 256M
  virtmark serve --listen 0.0.0.0:8080 --max-sandboxes 32     (with a token in VIRTMARK_TOKEN)
  curl -s http://127.0.0.1:8080/create -H 'Content-Type: application/json' -d '{}'
  virtmark tti --endpoint http://127.0.0.1:8080

Sandboxes over HTTP: create, exec, files, snapshot, restore, destroy; GET /openapi.json describes it all. The sizes \
and the image given here are those of a sandbox whose request names none. SIGTERM or Ctrl-C ends the service: running \
commands get --drain to finish, then every machine is destroyed, and snapshots stay.")]
pub(crate) struct ServiceArguments {
    /// Where to listen; port 0 takes a free one, which is told on standard error and, as JSON, on standard output
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// The bearer token that requests must carry; better in VIRTMARK_TOKEN. Required unless --listen is on loopback
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,

    /// How a sandbox starts whose request does not say
    #[arg(long, value_enum, default_value_t = StartChoice::Template)]
    pub(crate) start: StartChoice,

    /// Restored and paused machines that are kept ready [default: 4 with --start warm, otherwise 0]
    #[arg(long, value_name = "N")]
    pub(crate) warm: Option<u32>,

    /// Where templates and snapshots are kept [default: ~/.local/share/virtmark/sandbox]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Another image that requests may name; may be repeated
    #[arg(long = "allow-image", value_name = "IMAGE")]
    pub(crate) allowed_images: Vec<String>,

    /// Run VMMs without their seccomp filter, unprivileged user and cgroup limits
    #[arg(long)]
    pub(crate) unconfined: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// What clients may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Sandboxes at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) max_sandboxes: u32,

    /// Memory of all sandboxes and warm machines together [default: three quarters of what this host grants]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_memory)]
    pub(crate) total_memory: Option<u64>,

    /// Virtual CPUs of all sandboxes and warm machines together [default: 32 for each CPU of this host]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) total_vcpus: Option<u32>,

    /// Virtual CPUs that one request may ask for
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) max_vcpus: u32,

    /// Memory that one request may ask for
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = crate::size::parse_memory)]
    pub(crate) max_memory: u64,

    /// Disk that one request may ask for
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = crate::size::parse_memory)]
    pub(crate) max_disk: u64,

    /// Snapshots that clients have taken and not deleted
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_snapshots: usize,

    /// Body of a request, files excepted
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = crate::size::parse_memory)]
    pub(crate) max_request: u64,

    /// Each output stream of a command that an answer holds; the rest is counted
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = crate::size::parse_memory)]
    pub(crate) max_output: u64,

    /// Longest time that a request may give a command
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = crate::duration::parse_positive)]
    pub(crate) max_exec_time: Duration,

    /// Life of a sandbox whose request does not say
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = crate::duration::parse_positive)]
    pub(crate) lifetime: Duration,

    /// Longest life that a request may ask for
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = crate::duration::parse_positive)]
    pub(crate) max_lifetime: Duration,

    /// How long a machine may take to answer
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = crate::duration::parse_positive)]
    pub(crate) ready_timeout: Duration,

    /// How long running commands may go on after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::duration::parse)]
    pub(crate) drain: Duration,
}

/// How a sandbox starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StartChoice {
    /// A fresh boot
    Cold,
    /// From a snapshot of a booted guest, made when first needed
    Template,
    /// A machine that was restored beforehand and paused
    Warm,
}

impl StartChoice {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Template => "template",
            Self::Warm => "warm",
        }
    }
}
