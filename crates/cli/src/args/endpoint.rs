//! Options of every command that can measure a sandbox service instead of machines of its own.

use std::path::PathBuf;

use clap::Args;

use super::StartChoice;

/// A sandbox service to measure, in place of a hypervisor on this host.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Sandbox service")]
pub(crate) struct EndpointArguments {
    /// Measure the sandbox service at this URL, such as http://127.0.0.1:8080, instead of machines of this host
    #[arg(long, value_name = "URL", conflicts_with_all = LOCAL)]
    pub(crate) endpoint: Option<String>,

    /// The bearer token that the service wants; better in VIRTMARK_TOKEN, where other users do not see it
    #[arg(long, value_name = "TOKEN", requires = "endpoint")]
    pub(crate) token: Option<String>,

    /// How the service's API is spoken, as a TOML file [default: that of virtmark serve]
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    pub(crate) mapping: Option<PathBuf>,

    /// How the service shall start its machines [default: as it is set]
    #[arg(long, value_enum, requires = "endpoint")]
    pub(crate) start: Option<StartChoice>,
}

/// What only machines of this host have.
const LOCAL: [&str; 7] = ["hypervisor", "accel", "kernel", "modules", "kernel_arguments", "qemu", "record"];

impl EndpointArguments {
    /// The token, from the option or the environment.
    pub(crate) fn token(&self) -> Option<String> {
        self.token.clone().or_else(|| std::env::var(TOKEN_VARIABLE).ok()).filter(|token| !token.is_empty())
    }
}

/// Where a token may be as well.
pub(crate) const TOKEN_VARIABLE: &str = "VIRTMARK_TOKEN";
