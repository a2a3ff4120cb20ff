//! What an image is made of, before any of it has been read.

use std::path::PathBuf;

use crate::Arch;

/// Where the guest's kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelSource {
    /// The newest of Debian's kernels for virtual machines in the cache, as `make setup` unpacks it.
    Debian,
    /// Files named by the user.
    Files {
        /// A bzImage or an uncompressed ELF kernel.
        kernel: PathBuf,
        /// Its `/lib/modules/RELEASE`; `None` for a kernel that has everything built in.
        modules: Option<PathBuf>,
    },
    /// The kernel that this machine runs, from `/boot` or `/lib/modules`.
    Host,
}

/// A file put into the image besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Where in the image, for example `/etc/motd`. Directories above it are made.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// What the image `tiny` is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TinyRecipe {
    /// Instruction set of the guest.
    pub arch: Arch,
    /// The guest's kernel and modules.
    pub kernel: KernelSource,
    /// A static busybox; `None` for `/bin/busybox` of this machine.
    pub busybox: Option<PathBuf>,
    /// The static agent, which becomes `/init`.
    pub agent: Vec<u8>,
    /// More files.
    pub extra_files: Vec<ExtraFile>,
}

impl TinyRecipe {
    /// The usual recipe: Debian's kernel, this machine's busybox, and `agent`.
    pub fn new(agent: Vec<u8>) -> Self {
        Self {
            arch: Arch::X86_64,
            kernel: KernelSource::Debian,
            busybox: None,
            agent,
            extra_files: Vec::new(),
        }
    }
}
