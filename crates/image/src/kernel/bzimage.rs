//! The bzImage wrapper of x86 kernels (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").

use super::{compression, first_word};
use crate::elf::{c_string, read_u16, read_u32};

/// A bzImage whose header has been checked.
pub(super) struct BzImage<'a> {
    bytes: &'a [u8],
    payload: &'a [u8],
}

/// Whether the bytes carry the header's two magic numbers.
pub(super) fn is_bzimage(bytes: &[u8]) -> bool {
    read_u16(bytes, 0x1fe) == Some(0xaa55) && bytes.get(0x202..0x206) == Some(b"HdrS")
}

impl<'a> BzImage<'a> {
    /// Finds the payload of an image for which [`is_bzimage`] holds.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        // The fields that name the payload came with protocol 2.08 (Linux 2.6.26).
        let protocol = read_u16(bytes, 0x206).unwrap_or(0);
        if protocol < 0x208 {
            return Err(format!(
                "its boot protocol {}.{:02} is older than 2.08",
                protocol >> 8,
                protocol & 0xff
            ));
        }
        let setup_sectors = match bytes[0x1f1] {
            0 => 4,
            count => usize::from(count),
        };
        let protected_mode_at = (setup_sectors + 1) * 512;
        let cut_off = || format!("its header needs more than the file's {} bytes", bytes.len());
        let offset = read_u32(bytes, 0x248).ok_or_else(cut_off)? as usize;
        let length = read_u32(bytes, 0x24c).ok_or_else(cut_off)? as usize;
        let start = protected_mode_at + offset;
        let payload = bytes.get(start..start + length).ok_or_else(cut_off)?;
        Ok(Self { bytes, payload })
    }

    /// The kernel release in the header, if there is one.
    pub(super) fn release(&self) -> Option<String> {
        let at = read_u16(self.bytes, 0x20e).filter(|at| *at != 0)?;
        first_word(c_string(self.bytes, usize::from(at) + 0x200))
    }

    /// The kernel inside, uncompressed.
    ///
    /// The last four bytes of the payload are the kernel's size: gzip has it there by itself, Linux's build appends it
    /// to all other formats.
    pub(super) fn vmlinux(&self) -> Result<Vec<u8>, String> {
        if self.payload.starts_with(b"\x7fELF") {
            return Ok(self.payload.to_vec());
        }
        let (stream, trailer) = self.payload.split_last_chunk::<4>().ok_or("its payload is empty")?;
        let stream = if compression::is_gzip(self.payload) { self.payload } else { stream };
        let kernel = compression::decompress(stream)?;
        let expected = u32::from_le_bytes(*trailer);
        if kernel.len() as u64 != u64::from(expected) {
            return Err(format!("its payload unpacks to {} bytes instead of {expected}", kernel.len()));
        }
        Ok(kernel)
    }
}
