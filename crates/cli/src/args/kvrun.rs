//! Options of the command that sets up machines for others to use.

use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use virtmark_fleet::provider::NetworkChoice;

use super::MachineArguments;
use super::vmrun::parse_positive_seconds;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  virtmark kvrun -n 3                                        three machines, until Ctrl-C; standard output has the map
  virtmark kvrun -n 3 --exec 'vmrun -H $VIRTMARK_MAP -A $VIRTMARK_AUTH mine.tgz'
  id=$(virtmark kvrun -n 3 --detach --map machines --auth auth.json --ssh-config config)
  ssh -F config vm-0                                         OpenSSH's own client enters them too
  virtmark kvrun list
  virtmark kvrun down $id                                    or --all

Either all machines are ready in time (the agent has answered, the SSH server has greeted) or none is left. The map has a \
line `ADDRESS[:PORT] NAME` for each, as `vmrun -H` reads it. A command of --exec finds files in VIRTMARK_MAP, VIRTMARK_MAP_JSON, \
VIRTMARK_AUTH, VIRTMARK_SSH_CONFIG and VIRTMARK_KNOWN_HOSTS.

Exit code: 0 all was set up and destroyed again, 3 a machine ended by itself meanwhile, 31 not all were ready in time; \
with --exec that of the command. docs/kvrun.md has more.")]
pub(crate) struct KvrunArguments {
    #[command(subcommand)]
    pub(crate) command: Option<KvrunCommand>,

    #[command(flatten)]
    pub(crate) up: KvrunUpArguments,
}

/// What to do with machines that are there.
#[derive(Debug, Subcommand)]
pub(crate) enum KvrunCommand {
    /// Destroy machines, whoever keeps them
    #[command(group = ArgGroup::new("which").required(true).args(["id", "all"]))]
    Down {
        /// Their id, as `--detach` prints it, or the start of it
        id: Option<String>,

        /// All of this user
        #[arg(long)]
        all: bool,
    },
    /// List the machines of this user that are set up, or about to be
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Which machines, and for how long.
#[derive(Debug, Args)]
#[command(mut_arg("image", |image| {
    image.help("The image to boot, whose guest runs an SSH server: bench, built when it is not there [default: bench]")
}))]
pub(crate) struct KvrunUpArguments {
    /// How many machines
    #[arg(short = 'n', long, value_name = "N", default_value = "1")]
    pub(crate) replicas: NonZeroU16,

    /// What their names begin with: NAME-0, NAME-1, …
    #[arg(long, value_name = "NAME", default_value = "vm", value_parser = parse_prefix)]
    pub(crate) name: String,

    /// When all of them must be ready, or they are destroyed
    #[arg(short, long, value_name = "TIME", default_value = "5m", value_parser = parse_positive_seconds)]
    pub(crate) timeout: Duration,

    /// Machines that are set up at the same time [default: one for each CPU of this host]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<NonZeroUsize>,

    /// How they are connected
    #[arg(long, value_enum, default_value_t = NetworkArgument::Auto)]
    pub(crate) network: NetworkArgument,

    /// Let guests of user-mode networks reach what this host reaches; otherwise they reach nothing by themselves
    #[arg(long)]
    pub(crate) outbound: bool,

    /// Write the map of machines there [default: standard output, unless --exec or --detach]
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,

    /// Write the map as JSON; with --detach, print everything there is to know as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write an authentication file there, for `vmrun -A`
    #[arg(long, value_name = "FILE")]
    pub(crate) auth: Option<PathBuf>,

    /// Write a configuration there, for `ssh -F`
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,

    /// Run this line of the shell when all are ready, destroy them when it ends, and exit as it did
    #[arg(long, value_name = "CMD", conflicts_with = "detach")]
    pub(crate) exec: Option<String>,

    /// Print an id when all are ready, and keep them in the background until `kvrun down`
    #[arg(long)]
    pub(crate) detach: bool,

    /// Be the process that keeps them (for --detach)
    #[arg(long, hide = true, requires = "detach")]
    pub(crate) hold: bool,

    #[command(flatten)]
    pub(crate) machine: MachineArguments,
}

/// How machines are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArgument {
    /// A bridge where this user may make one, otherwise forwarded ports
    Auto,
    /// A tap for each machine, on a bridge that they share with this host
    Bridge,
    /// A network for each machine, with its SSH port forwarded to one of this host's loopback interface
    User,
}

impl NetworkArgument {
    pub(crate) fn choice(self) -> NetworkChoice {
        match self {
            Self::Auto => NetworkChoice::Auto,
            Self::Bridge => NetworkChoice::Bridge,
            Self::User => NetworkChoice::User,
        }
    }
}

/// The start of machines' names, which are hostnames too.
pub(crate) fn parse_prefix(text: &str) -> Result<String, String> {
    let sound = (1..=40).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match sound {
        true => Ok(text.into()),
        false => Err(format!(
            "{text:?} is no start of names: use letters, digits and hyphens, a letter or digit first, at most 40"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hostnames() {
        for text in ["vm", "Web-1", "0"] {
            assert_eq!(parse_prefix(text).as_deref(), Ok(text));
        }
        for text in ["", "-vm", "a b", "a/b", "vm_1", "ü", &"x".repeat(41)] {
            assert!(parse_prefix(text).is_err(), "{text:?}");
        }
    }
}
