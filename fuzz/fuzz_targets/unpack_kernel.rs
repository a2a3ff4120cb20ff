//! Any bytes as a kernel file: they are refused in words, or what an image gets of them is no longer than a kernel.

#![no_main]

#[path = "../support/magic.rs"]
mod magic;

use virtmark_image::KernelFormat;
use virtmark_image::fuzzing::kernel;

libfuzzer_sys::fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, kind) = input;
    check(bytes);
    check(&magic::as_elf(bytes));
    check(&with_wrapper(&magic::as_elf(bytes)));
    check(&with_wrapper(&magic::as_compressed(bytes, kind)));
});

fn check(bytes: &[u8]) {
    match kernel(bytes) {
        Ok((packed, KernelFormat::Elf)) => assert!(packed.starts_with(b"\x7fELF")),
        Ok((packed, KernelFormat::BzImage)) => assert_eq!(packed, bytes),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The bytes as the payload of a bzImage, so that decompressors are reached without finding its header first.
fn with_wrapper(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image
}
