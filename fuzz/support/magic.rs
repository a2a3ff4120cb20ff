//! Beginnings that a fuzzer would search for long.
#![allow(dead_code, reason = "each fuzz target uses its part")]

/// First bytes of the compressions that kernels and modules come in, with what else is checked first.
const COMPRESSIONS: [&[u8]; 5] = [
    &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
    &[0x02, 0x21, 0x4c, 0x18],
    &[0x5d, 0, 0, 0x80, 0],
    &[0xfd, b'7', b'z', b'X', b'Z', 0, 0, 1, 0, 0, 0, 0],
    &[0x28, 0xb5, 0x2f, 0xfd],
];

/// The bytes as a 64-bit ELF file for x86, with headers of the sizes that there are and not many of them.
pub(crate) fn as_elf(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(64), 0);
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[18..20].copy_from_slice(&[62, 0]);
    file[54..56].copy_from_slice(&[56, 0]);
    file[58..60].copy_from_slice(&[64, 0]);
    for high_byte in [57, 61, 63] {
        file[high_byte] = 0;
    }
    file
}

/// The bytes behind the beginning of a compressed file.
pub(crate) fn as_compressed(bytes: &[u8], kind: u8) -> Vec<u8> {
    [COMPRESSIONS[usize::from(kind) % COMPRESSIONS.len()], bytes].concat()
}
