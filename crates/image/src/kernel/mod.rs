//! Kernel files: what a file is, and the form of it that a virtual machine starts fastest.

mod bzimage;
mod lz4_legacy;
mod pack;
mod x86_filter;
mod xz;

/// Decompressors, also for modules.
pub(crate) mod compression;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::elf::{Elf, PT_LOAD, PT_NOTE, Segment, read_u32};
use crate::{Arch, ImageError};

/// What the kernel file in an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelFormat {
    /// The compressed image with its real-mode header (Linux `Documentation/arch/x86/boot.rst`).
    BzImage,
    /// The uncompressed kernel with only the pieces that are loaded.
    Elf,
}

/// A kernel, ready to be written into an image.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: KernelFormat,
    /// Whether the kernel has the PVH entry, so that an ELF file of it starts without firmware.
    pub(crate) pvh: bool,
    pub(crate) release: String,
}

impl Kernel {
    /// Takes the bytes of a kernel file apart; `path` only names it in errors.
    ///
    /// A bzImage becomes an ELF file when the kernel inside has the PVH entry, and stays as it is when it has not.
    pub(crate) fn parse(raw: Vec<u8>, path: &Path, arch: Arch) -> Result<Self, ImageError> {
        let damaged = |reason: String| ImageError::KernelDamaged { path: path.to_owned(), reason };
        let foreign = |found: String| ImageError::NotAKernel { path: path.to_owned(), arch, found };
        if raw.starts_with(b"\x7fELF") {
            let vmlinux = Vmlinux::parse(&raw, arch).map_err(foreign)?;
            let release = banner_release(&raw)
                .ok_or_else(|| foreign("an ELF file without Linux's banner".to_owned()))?;
            return Ok(Self {
                bytes: vmlinux.packed().map_err(damaged)?,
                format: KernelFormat::Elf,
                pvh: vmlinux.pvh,
                release,
            });
        }
        if !bzimage::is_bzimage(&raw) {
            return Err(foreign(compression::describe(&raw)));
        }
        let image = bzimage::BzImage::parse(&raw).map_err(damaged)?;
        let inner = image.vmlinux().map_err(damaged)?;
        let vmlinux =
            Vmlinux::parse(&inner, arch).map_err(|found| foreign(format!("a bzImage holding {found}")))?;
        let release = image
            .release()
            .or_else(|| banner_release(&inner))
            .ok_or_else(|| damaged("neither header nor kernel tells its release".to_owned()))?;
        if vmlinux.pvh {
            Ok(Self {
                bytes: vmlinux.packed().map_err(damaged)?,
                format: KernelFormat::Elf,
                pvh: true,
                release,
            })
        } else {
            Ok(Self { format: KernelFormat::BzImage, pvh: false, release, bytes: raw })
        }
    }
}

/// An uncompressed kernel.
struct Vmlinux<'a> {
    elf: Elf<'a>,
    segments: Vec<Segment>,
    pvh: bool,
}

impl<'a> Vmlinux<'a> {
    /// The error says what the bytes are instead.
    fn parse(bytes: &'a [u8], arch: Arch) -> Result<Self, String> {
        let elf = Elf::parse(bytes)?;
        if elf.machine() != arch.elf_machine() {
            return Err(format!("an ELF file for machine type {}", elf.machine()));
        }
        let segments = elf.segments()?;
        if !segments.iter().any(|segment| segment.kind == PT_LOAD) {
            return Err("an ELF file with nothing to load".to_owned());
        }
        let pvh = segments
            .iter()
            .filter(|segment| segment.kind == PT_NOTE)
            .any(|segment| has_pvh_note(elf, segment));
        Ok(Self { elf, segments, pvh })
    }

    fn packed(&self) -> Result<Vec<u8>, String> {
        pack::pack(self.elf, &self.segments)
    }
}

/// Whether a note segment has XEN_ELFNOTE_PHYS32_ENTRY, the 32-bit entry of the PVH boot protocol
/// (Xen `public/elfnote.h`; note layout from the System V ABI).
fn has_pvh_note(elf: Elf<'_>, segment: &Segment) -> bool {
    const PHYS32_ENTRY: u32 = 18;
    let align = if segment.align == 8 { 8 } else { 4 };
    let mut notes = elf.slice(segment.offset, segment.file_bytes).unwrap_or_default();
    while let (Some(name_bytes), Some(value_bytes), Some(kind)) =
        (read_u32(notes, 0), read_u32(notes, 4), read_u32(notes, 8))
    {
        let value_at = (12 + name_bytes as usize).next_multiple_of(align);
        let next = (value_at + value_bytes as usize).next_multiple_of(align);
        let name = notes.get(12..12 + name_bytes as usize);
        if kind == PHYS32_ENTRY && name == Some(b"Xen\0") && value_bytes >= 4 {
            return true;
        }
        notes = notes.get(next..).unwrap_or_default();
    }
    false
}

/// The release in the banner that every Linux kernel carries ("Linux version 6.1.0 (…").
fn banner_release(kernel: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    kernel
        .windows(BANNER.len() + 1)
        .position(|window| window.starts_with(BANNER) && window[BANNER.len()].is_ascii_digit())
        .and_then(|at| first_word(&kernel[at + BANNER.len()..]))
}

/// The printable word at the start of `bytes`, at most as long as a `utsname` field.
fn first_word(bytes: &[u8]) -> Option<String> {
    let word: String = bytes
        .iter()
        .take(65)
        .take_while(|byte| byte.is_ascii_graphic())
        .map(|byte| char::from(*byte))
        .collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests;
