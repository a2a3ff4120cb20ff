//! Options of the command that runs a payload on many machines.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use virtmark_fleet::Need;
use virtmark_fleet::auth::HostKeyPolicy;
use virtmark_model::RunId;

use super::ArchiveArguments;
use super::payload::{PayloadLimits, parse_parameter};
use crate::duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark vmrun -H machines openssl-1.0.tgz             on all machines at once, logged in as ssh would
  virtmark vmrun -H machines -A auth.json mine.tgz       as the authentication file has it
  kvrun ... | vmrun -H - --ready any -t 60 mine.tgz      with those that are there after a minute
  virtmark vmrun -H machines mine.tgz | jq '.metrics[] | {metric, mean, slowest}'

The map has a line `ADDRESS[:PORT] NAME` for each machine, as /etc/hosts has, or is JSON. What came home is in a directory \
named after the run: standard output, standard error and times of each machine, and the files ID-result and ID-errors.

Exit code: 0 succeeded on all machines, 3 on some, 4 on none, 31 too few machines were ready and nothing was run, 2 usage, \
or the payload, the map or the authentication file cannot be used. docs/vmrun.md has more.")]
pub(crate) struct VmrunArguments {
    /// The payload, as `virtmark payload pack` makes them
    #[arg(value_name = "PAYLOAD")]
    pub(crate) payload: PathBuf,

    /// Map of machines and addresses; `-` is standard input
    #[arg(short = 'H', long, value_name = "FILE")]
    pub(crate) hosts: PathBuf,

    /// Authentication file: user, and password, key or agent [default: as OpenSSH's client logs in]
    #[arg(short = 'A', long, value_name = "FILE")]
    pub(crate) auth_file: Option<PathBuf>,

    /// Where the payload is unpacked on the machines
    #[arg(short, long, value_name = "DIR", default_value = virtmark_payload::DEFAULT_ROOT, value_parser = parse_root)]
    pub(crate) root: String,

    /// How long to wait until machines are ready; 0 tries each once
    #[arg(short, long, value_name = "TIME", default_value = "120s", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,

    /// How many machines must be ready when the time is over, or nothing is run: all, any, or a number
    #[arg(long, value_name = "N", default_value = "all", value_parser = parse_need)]
    pub(crate) ready: Need,

    /// Machines that are worked on at the same time [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,

    /// When the payload is given up and killed [default: what payload.toml says, or 1h]
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    pub(crate) run_timeout: Option<Duration>,

    /// How long the upload may take on each machine, and after it unpacking
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse_positive)]
    pub(crate) transfer_timeout: Duration,

    /// How often upload and unpacking are tried again on a new connection; the payload itself never is
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) retries: u32,

    /// Set an environment variable of the payload; may be repeated
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, String)>,

    /// The directory in which that of the run is made
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,

    /// Name of the run [default: vmrun-DATE-TIME-RANDOM]
    #[arg(short = 'U', long, value_name = "ID")]
    pub(crate) id: Option<RunId>,

    #[command(flatten)]
    pub(crate) login: LoginArguments,

    #[command(flatten)]
    pub(crate) limits: PayloadLimits,

    #[command(flatten)]
    pub(crate) archive: ArchiveArguments,
}

/// How machines are logged in to, where the authentication file does not say it, or wrongly.
#[derive(Debug, Args)]
#[command(next_help_heading = "SSH")]
pub(crate) struct LoginArguments {
    /// The account
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// What to make of host keys that are not on file; one that has changed is never accepted but by ignore
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) host_keys: Option<HostKeys>,

    /// File of host keys [default: ~/.ssh/known_hosts]
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,

    /// The client's configuration [default: ~/.ssh/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
}

/// What to make of host keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostKeys {
    /// Strangers are accepted and put on file
    AcceptNew,
    /// Nothing is checked: for machines that live for one run, on a network of one's own
    Ignore,
    /// Machines must be on file
    Strict,
}

impl HostKeys {
    pub(crate) fn policy(self) -> HostKeyPolicy {
        match self {
            Self::AcceptNew => HostKeyPolicy::AcceptNew,
            Self::Ignore => HostKeyPolicy::Ignore,
            Self::Strict => HostKeyPolicy::Strict,
        }
    }
}

/// A bare number is seconds, as the first tool of this name had it.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return duration::parse(&format!("{text}s"));
    }
    duration::parse(text)
}

/// The same, but not zero.
pub(super) fn parse_positive_seconds(text: &str) -> Result<Duration, String> {
    match parse_seconds(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all: give more than zero")),
        time => Ok(time),
    }
}

fn parse_need(text: &str) -> Result<Need, String> {
    match text {
        "all" => Ok(Need::All),
        "any" => Ok(Need::AtLeast(NonZeroUsize::MIN)),
        number => {
            let expected = || format!("{text:?} is not how many: expected all, any, or a number from 1");
            number.parse().map(Need::AtLeast).map_err(|_| expected())
        }
    }
}

fn parse_root(text: &str) -> Result<String, String> {
    match virtmark_payload::is_root(text) {
        true => Ok(text.into()),
        false => Err(format!("{text:?} is no place on a machine: give an absolute path without `..`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(parse_seconds("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_seconds("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_seconds("soon").is_err());
        assert!(parse_positive_seconds("0").is_err() && parse_positive_seconds("1").is_ok());
        assert_eq!(parse_need("any"), Ok(Need::AtLeast(NonZeroUsize::MIN)));
        assert!(parse_need("0").is_err() && parse_need("most").is_err());
        assert!(parse_root("opt").is_err() && parse_root("/a/../b").is_err() && parse_root("/opt/x").is_ok());
    }
}
