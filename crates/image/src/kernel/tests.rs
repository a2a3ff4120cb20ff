use proptest::prelude::*;

use super::*;
use crate::testing;

const RELEASE: &str = "6.1.0-9-test";

fn parse(raw: Vec<u8>) -> Result<Kernel, ImageError> {
    Kernel::parse(raw, Path::new("/boot/vmlinuz"), Arch::X86_64)
}

/// As Linux's build packs a kernel: the size at the end, which gzip has by itself.
fn payload(name: &str, mut packed: Vec<u8>, size_bytes: usize) -> Vec<u8> {
    if name != "gzip" {
        packed.extend((size_bytes as u32).to_le_bytes());
    }
    packed
}

#[test]
fn a_pvh_kernel_comes_out_of_a_bzimage_in_every_compression() {
    let vmlinux = testing::vmlinux(RELEASE, true);
    let expected = parse(vmlinux.clone()).unwrap();
    assert!(expected.pvh);
    assert_eq!(expected.release, RELEASE);
    for (name, packed) in testing::compressions(&vmlinux) {
        for header_release in [RELEASE, ""] {
            let packed = payload(name, packed.clone(), vmlinux.len());
            let kernel = parse(testing::bzimage(&packed, header_release)).unwrap();
            assert_eq!(kernel.bytes, expected.bytes, "{name}");
            assert_eq!(kernel.format, KernelFormat::Elf);
            assert_eq!(kernel.release, RELEASE);
        }
    }
}

#[test]
fn a_kernel_without_the_pvh_entry_stays_a_bzimage() {
    let vmlinux = testing::vmlinux(RELEASE, false);
    let (name, packed) = testing::compressions(&vmlinux).swap_remove(0);
    let image = testing::bzimage(&payload(name, packed, vmlinux.len()), RELEASE);
    let kernel = parse(image.clone()).unwrap();
    assert_eq!(kernel.format, KernelFormat::BzImage);
    assert!(!kernel.pvh);
    assert_eq!(kernel.bytes, image);
}

#[test]
fn a_payload_of_another_size_than_promised_is_refused() {
    let vmlinux = testing::vmlinux(RELEASE, true);
    for (name, packed) in testing::compressions(&vmlinux) {
        let mut packed = payload(name, packed, vmlinux.len());
        let last = packed.len() - 4;
        packed[last] ^= 1;
        let error = parse(testing::bzimage(&packed, RELEASE)).unwrap_err();
        assert!(matches!(error, ImageError::KernelDamaged { .. }), "{name}: {error}");
    }
}

#[test]
fn what_is_not_a_kernel_is_named() {
    let arm = testing::elf_file(183, &[], &[]);
    let lzo = testing::bzimage(b"\x89LZO\0\0\0\0\0\0\0\0", RELEASE);
    for (raw, found) in [
        (Vec::new(), "an empty file"),
        (b"#!/bin/sh\n".to_vec(), "a script"),
        (vec![0x1f, 0x8b, 8], "gzip data"),
        (arm, "machine type 183"),
        (vec![1, 2, 3], "[01, 02, 03]"),
        (lzo, "an lzo stream"),
    ] {
        let text = parse(raw).unwrap_err().to_string();
        assert!(text.contains(found), "{text}");
        assert!(text.contains("/boot/vmlinuz"), "{text}");
    }
}

#[test]
fn a_bzimage_cut_off_anywhere_is_an_error() {
    let vmlinux = testing::vmlinux(RELEASE, true);
    let (name, packed) = testing::compressions(&vmlinux).swap_remove(1);
    let image = testing::bzimage(&payload(name, packed, vmlinux.len()), RELEASE);
    for length in (0..image.len() - 50).step_by(13) {
        assert!(parse(image[..length].to_vec()).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn arbitrary_headers_never_panic(
        header in proptest::collection::vec(any::<u8>(), 0x200..0x900),
        protocol in any::<u16>(),
    ) {
        let mut image = header;
        image.resize(image.len().max(0x210), 0);
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&protocol.to_le_bytes());
        prop_assert!(parse(image).is_err());
    }

    #[test]
    fn arbitrary_notes_never_panic(note in proptest::collection::vec(any::<u8>(), 0..80)) {
        let piece = testing::Piece { address: 0, contents: b"Linux version 6 ".to_vec() };
        let kernel = parse(testing::elf_file(62, &[piece], &note)).unwrap();
        prop_assert_eq!(kernel.release, "6");
    }
}
