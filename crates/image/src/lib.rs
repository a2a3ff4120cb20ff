//! Kernels and initramfs images for guests, kept by content hash.
//!
//! A [`Store`] is a directory. [`Store::ensure_tiny`] turns a [`TinyRecipe`] (which kernel, which busybox, which agent)
//! into an [`Image`]: an uncompressed kernel that starts through its PVH entry, and an initramfs with the agent as
//! `/init`. [`Store::ensure_bench`] adds a root file system with the tools that suites and payloads need. The same inputs always give the same bytes and so the same id; an entry that was damaged on disk is
//! noticed and built again.
//!
//! This crate knows files and formats. It knows nothing of any hypervisor.

mod arch;
mod bench;
mod debian;
mod digest;
mod elf;
mod error;
mod ext4;
mod fingerprint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod initramfs;
mod kernel;
mod modules;
pub mod qcow2;
mod recipe;
mod sources;
mod store;
#[cfg(test)]
mod testing;
mod tools;
mod volume;

pub use arch::Arch;
pub use bench::BenchRecipe;
pub use digest::sha256_file;
pub use error::ImageError;
pub use kernel::KernelFormat;
pub use recipe::{ExtraFile, KernelSource, TinyRecipe};
pub use store::{
    FileRecord, Image, Input, KeyPair, Listing, Manifest, ModuleRecord, PackageRecord, RootFile, Store,
    Verify,
};
pub use volume::{RootRecipe, SharedFile, Volume};
