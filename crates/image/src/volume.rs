//! What a disk image is made of, before any of it has been read.

use std::path::PathBuf;

use crate::KernelSource;

/// What a root file system is made of: a Debian with few packages, and a kernel's modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRecipe {
    /// Short name, for the record and for people.
    pub name: String,
    /// Debian's suite.
    pub suite: String,
    /// Packages besides those that a minimal Debian has.
    pub packages: Vec<String>,
    /// Empty directories that it gets, for what is mounted there.
    pub directories: Vec<String>,
    /// The kernel whose files lie in its `/boot` and modules in its `/lib/modules`.
    pub kernel: KernelSource,
}

/// A file that a disk shares with a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFile {
    /// The file of this host.
    pub source: PathBuf,
    /// Where it lies on the disk, such as `bin/virtmark`. Directories above it are made.
    pub path: String,
}

/// A disk image with an ext4 file system, ready to be attached. While it or a clone of it lives, nobody removes it.
#[derive(Clone, Debug)]
pub struct Volume {
    /// SHA-256 in hexadecimal, of what it was made of.
    pub id: String,
    /// The file.
    pub file: PathBuf,
    /// Size of the file.
    pub size_bytes: u64,
    pub(crate) _in_use: std::sync::Arc<std::fs::File>,
}
