//! The instruction sets an image can be built for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Instruction set of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// The word the kernel uses for this instruction set (`uname -m`).
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
        }
    }

    /// `e_machine` of an ELF file for this instruction set (System V ABI, processor supplements).
    pub(crate) fn elf_machine(self) -> u16 {
        match self {
            Self::X86_64 => 62,
        }
    }

    /// Ending of the names of Debian's kernel packages for virtual machines (`linux-image-6.1.0-9-cloud-amd64`).
    pub(crate) fn debian_kernel_flavour(self) -> &'static str {
        match self {
            Self::X86_64 => "cloud-amd64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
