//! Options of every command that runs machines.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::KernelArguments;

/// Guest memory unless told otherwise.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
/// The image unless told otherwise.
const DEFAULT_IMAGE: &str = "tiny";

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

    /// Virtual CPUs of each machine [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    pub(crate) vcpus: Option<u32>,

    /// Memory of each machine [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse_memory)]
    pub(crate) memory: Option<u64>,

    /// The image to boot: tiny or bench, built when it is not there, or a name or id of `virtmark image list`
    /// [default: tiny; bench for guest]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,

    #[command(flatten)]
    pub(crate) kernel: KernelArguments,

    /// Added at the end of the kernel's command line; may be repeated
    #[arg(long = "kernel-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) kernel_arguments: Vec<String>,

    /// The QEMU program [default: qemu-system-* of this architecture in PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) qemu: Option<PathBuf>,
}

impl MachineArguments {
    pub(crate) fn vcpus(&self) -> u32 {
        self.vcpus.unwrap_or(1)
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.unwrap_or(DEFAULT_MEMORY_BYTES)
    }

    pub(crate) fn image(&self) -> &str {
        self.image.as_deref().unwrap_or(DEFAULT_IMAGE)
    }
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
