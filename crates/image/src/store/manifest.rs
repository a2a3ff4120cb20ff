//! The record that lies beside an image's files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::{Arch, KernelFormat};

/// Changes when the files of an image are made or recorded in another way; images of other versions are built anew.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What an image is and what it was made of: the contents of its `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this record.
    pub format_version: u32,
    /// Name of the recipe, such as `tiny`.
    pub name: String,
    /// Instruction set of the guest.
    pub arch: Arch,
    /// When it was built, in seconds since 1970-01-01 UTC. Not part of the id.
    pub created_unix_s: u64,
    /// Release of the kernel (`uname -r` in the guest).
    pub kernel_release: String,
    /// What the kernel file is.
    pub kernel_format: KernelFormat,
    /// Whether the kernel has the PVH entry.
    pub pvh: bool,
    /// Modules in the initramfs, in load order.
    pub modules: Vec<ModuleRecord>,
    /// Wanted modules that the kernel has built in.
    pub builtin_modules: Vec<String>,
    /// On-demand modules that the kernel does not have.
    pub absent_modules: Vec<String>,
    /// What it was made of.
    pub inputs: Vec<Input>,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// Packages of its root file system, by name; none where it has no such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageRecord>,
    /// Size of the disk that its root file system is on, in bytes; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_size_bytes: Option<u64>,
}

/// One package of a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One module of an initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    /// Name, as `lsmod` shows it.
    pub name: String,
    /// Size without signature and debug information.
    pub size_bytes: u64,
    /// Whether the agent loads it before it speaks.
    pub early: bool,
}

/// One thing an image was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its part: `agent`, `busybox`, `file PATH`, `kernel`, `module NAME`, or `root` with the hash of its recipe.
    pub role: String,
    /// Where it was read from; `None` for bytes from the caller. Not part of the id.
    pub path: Option<PathBuf>,
    /// SHA-256 of it as it was read, in hexadecimal.
    pub sha256: String,
}

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Name in the image's directory.
    pub name: String,
    /// Size.
    pub size_bytes: u64,
    /// SHA-256 of the contents, in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The image's id: SHA-256 over everything here except time and places.
    pub fn id(&self) -> String {
        let mut identity = self.clone();
        identity.created_unix_s = 0;
        for input in &mut identity.inputs {
            input.path = None;
        }
        sha256(&identity.to_json())
    }

    /// Sum of the files' sizes.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings, numbers and lists always serialise")
    }

    pub(super) fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }
}
