//! Options of every command that runs machines.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::KernelArguments;

/// Guest memory unless told otherwise.
const DEFAULT_MEMORY: &str = "256M";

/// The machine that is measured, and what runs it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(crate) struct MachineArguments {
    /// What runs the machines
    #[arg(long, value_enum, default_value_t = Driver::Qemu)]
    pub(crate) hypervisor: Driver,

    /// What executes guest code; auto takes KVM when a guest really runs under it
    #[arg(long, value_enum, default_value_t = Accel::Auto)]
    pub(crate) accel: Accel,

    /// Virtual CPUs of each machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) vcpus: u32,

    /// Memory of each machine
    #[arg(long, value_name = "SIZE", default_value = DEFAULT_MEMORY, value_parser = crate::size::parse_memory)]
    pub(crate) memory: u64,

    /// The image to boot: tiny, built when it is not there, or a name or id of `virtmark image list`
    #[arg(long, value_name = "IMAGE", default_value = "tiny")]
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) kernel: KernelArguments,

    /// Added at the end of the kernel's command line; may be repeated
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) kernel_arguments: Vec<String>,

    /// The QEMU program [default: qemu-system-* of this architecture in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) qemu: Option<PathBuf>,
}

/// What runs machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// QEMU, with KVM or software emulation
    Qemu,
    /// No hypervisor: the bare host, as the baseline
    Native,
}

/// What executes guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM when a probe guest runs under it, otherwise software emulation
    Auto,
    /// Hardware virtualisation, or an error
    Kvm,
    /// Software emulation
    Tcg,
}

impl Driver {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Qemu => "qemu",
        }
    }
}

impl Accel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}
