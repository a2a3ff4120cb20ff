//! Doors for fuzz targets: kernels and modules are taken apart deep inside of a store.

use std::path::Path;

use crate::kernel::Kernel;
use crate::{Arch, ImageError, KernelFormat, modules};

/// Takes a kernel file apart: what goes into an image of it.
///
/// # Errors
/// When it is no kernel, or a damaged one.
pub fn kernel(bytes: &[u8]) -> Result<(Vec<u8>, KernelFormat), ImageError> {
    let kernel = Kernel::parse(bytes.to_vec(), Path::new("vmlinuz"), Arch::X86_64)?;
    Ok((kernel.bytes, kernel.format))
}

/// Prepares a module for a guest: unpacked, without signature and debug information.
///
/// # Errors
/// What is wrong with it.
pub fn module(bytes: &[u8]) -> Result<Vec<u8>, String> {
    modules::prepare(bytes)
}
