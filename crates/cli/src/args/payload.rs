//! Options of the commands about payloads.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::duration::parse_positive;
use crate::size;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark payload new mine && virtmark payload pack mine
  virtmark payload lint mine-0.1.tgz
  virtmark payload lint --json mine-0.1.tgz | jq -r '.findings[].code'
  virtmark payload run mine-0.1.tgz --root /tmp/bench

A payload is a gzip-compressed tar with payload.sh at its root: one program, packed to be run on many machines. \
docs/payload.md is the specification.")]
pub(crate) struct PayloadArguments {
    #[command(subcommand)]
    pub(crate) command: PayloadCommand,
}

/// What to do with a payload.
#[derive(Debug, Subcommand)]
pub(crate) enum PayloadCommand {
    /// Say what is wrong with a payload, without unpacking it
    Lint(PayloadLintArguments),
    /// Make a directory with a first payload in it
    #[command(after_help = "Example:\n  virtmark payload new mine && virtmark payload pack mine")]
    New {
        /// Name of the payload, and of the directory
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Pack a directory: the same bytes from the same input, wherever and whenever
    Pack(PayloadPackArguments),
    /// Run a payload on this machine, as it would run on another
    Run(PayloadRunArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark payload lint openssl-1.0.tgz
  curl -s https://example.com/p.tgz | virtmark payload lint -

Exit code: 0 nothing found, 1 warnings only, 2 errors, or the file cannot be read.")]
pub(crate) struct PayloadLintArguments {
    /// The payload; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print a JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) limits: PayloadLimits,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  virtmark payload pack payloads/openssl -o openssl.tgz")]
pub(crate) struct PayloadPackArguments {
    /// The directory that has payload.sh in it
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,

    /// The archive [default: NAME-VERSION.tgz here, as payload.toml has them]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  virtmark payload run openssl-1.0.tgz --root /tmp/bench -p OPENSSL_SECONDS=1
  virtmark payload run mine-0.1.tgz --root /tmp/bench --output /tmp/result | jq .metrics

What was unpacked stays, as the specification has it.")]
pub(crate) struct PayloadRunArguments {
    /// The payload
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Where it is unpacked
    #[arg(long, value_name = "DIR", default_value = virtmark_payload::DEFAULT_ROOT)]
    pub(crate) root: PathBuf,

    /// Where its output is recorded, as `stdout` and `stderr`
    #[arg(long, value_name = "DIR", default_value = "payload-output")]
    pub(crate) output: PathBuf,

    /// When it is given up [default: what payload.toml says, or 1h]
    #[arg(long, value_name = "TIME", value_parser = parse_positive)]
    pub(crate) timeout: Option<Duration>,

    /// Set an environment variable of the payload; may be repeated
    #[arg(short, long = "parameter", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub(crate) parameters: Vec<(String, String)>,

    /// Let it write files outside of the root
    #[arg(long)]
    pub(crate) allow_outside_root: bool,

    #[command(flatten)]
    pub(crate) limits: PayloadLimits,
}

/// What an archive may unpack to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct PayloadLimits {
    /// Size of everything that is in the archive
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = size::parse)]
    pub(crate) max_size: u64,

    /// How many times its own size it may unpack to, beyond 64M
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) max_ratio: u64,

    /// How many entries it may have
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) max_entries: u64,
}

pub(super) fn parse_parameter(text: &str) -> Result<(String, String), String> {
    let expected = || format!("{text:?} is no parameter: expected NAME=VALUE, such as ROUNDS=20");
    let (name, value) = text.split_once('=').ok_or_else(expected)?;
    if !virtmark_payload::is_parameter_name(name) {
        return Err(format!("{name:?} is no parameter of a payload: use capitals, digits and `_`, not PATH"));
    }
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_library() {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            limits: PayloadLimits,
        }
        let limits = <Only as clap::Parser>::parse_from(["x"]).limits;
        let expected = virtmark_payload::Limits::default();
        assert_eq!((limits.max_size, limits.max_ratio), (expected.unpacked_bytes, expected.ratio));
        assert_eq!(limits.max_entries, expected.entries);
    }

    #[test]
    fn parameters_are_names_and_values() {
        assert_eq!(parse_parameter("A=b=c d"), Ok(("A".into(), "b=c d".into())));
        assert_eq!(parse_parameter("A="), Ok(("A".into(), String::new())));
        for text in ["", "A", "=x", "a=x", "PATH=/bin", "BENCH_ROOT=/"] {
            assert!(parse_parameter(text).is_err(), "{text}");
        }
    }
}
