//! Kernels and initramfs images for guests, kept by content hash.
//!
//! A [`Store`] is a directory. [`Store::ensure_tiny`] turns a [`TinyRecipe`] (which kernel, which busybox, which agent)
//! into an [`Image`]: an uncompressed kernel that starts through its PVH entry, and an initramfs with the agent as
//! `/init`. The same inputs always give the same bytes and so the same id; an entry that was damaged on disk is
//! noticed and built again.
//!
//! This crate knows files and formats. It knows nothing of any hypervisor.

mod arch;
mod digest;
mod elf;
mod error;
mod fingerprint;
mod initramfs;
mod kernel;
mod modules;
mod recipe;
mod sources;
mod store;
#[cfg(test)]
mod testing;
mod volume;

pub use arch::Arch;
pub use digest::sha256_file;
pub use error::ImageError;
pub use kernel::KernelFormat;
pub use recipe::{ExtraFile, KernelSource, TinyRecipe};
pub use store::{FileRecord, Image, Input, Listing, Manifest, ModuleRecord, Store, Verify};
pub use volume::{RootRecipe, SharedFile, Volume};
