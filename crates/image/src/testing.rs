//! Small synthetic kernels and modules for tests.

use std::collections::BTreeMap;
use std::io::Write;

use crate::elf::{HEADER_BYTES, PROGRAM_HEADER_BYTES, PT_LOAD, PT_NOTE, SECTION_HEADER_BYTES};

/// A segment of a synthetic kernel.
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) contents: Vec<u8>,
}

/// The note that names the PVH entry.
pub(crate) fn pvh_note() -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4u32, 4, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(0x0100_0000u32.to_le_bytes());
    note
}

/// An ELF64 executable with one PT_LOAD for each piece and one PT_NOTE.
pub(crate) fn elf_file(machine: u16, pieces: &[Piece], note: &[u8]) -> Vec<u8> {
    let mut file = elf_header(2, machine);
    let count = pieces.len() + 1;
    file[32..40].copy_from_slice(&(HEADER_BYTES as u64).to_le_bytes());
    file[54..56].copy_from_slice(&(PROGRAM_HEADER_BYTES as u16).to_le_bytes());
    file[56..58].copy_from_slice(&(count as u16).to_le_bytes());
    let mut body = Vec::new();
    let base = HEADER_BYTES + count * PROGRAM_HEADER_BYTES;
    let all =
        pieces.iter().map(|piece| (PT_LOAD, piece.address, &piece.contents[..])).chain([(PT_NOTE, 0, note)]);
    for (kind, address, contents) in all {
        body.resize(body.len() + 24, 0xcc);
        file.extend(kind.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        let offset = (base + body.len()) as u64;
        let length = contents.len() as u64;
        for double in [offset, 0xffff_0000_0000_0000 + address, address, length, length + 64, 4] {
            file.extend(double.to_le_bytes());
        }
        body.extend(contents);
    }
    file.extend(body);
    file
}

/// A kernel that tells its release, with or without the PVH entry.
pub(crate) fn vmlinux(release: &str, pvh: bool) -> Vec<u8> {
    let mut contents = b"some code that Linux version is not a banner of ".repeat(200);
    contents.extend(format!("Linux version {release} (builder@host) #1").bytes());
    contents.resize(contents.len() + 9000, 0);
    let note = if pvh { pvh_note() } else { Vec::new() };
    let piece = Piece { address: 0x0100_0000, contents };
    elf_file(62, &[piece], &note)
}

/// A bzImage around `payload`; `release` is empty for a header that does not tell.
pub(crate) fn bzimage(payload: &[u8], release: &str) -> Vec<u8> {
    let setup_sectors = 3usize;
    let mut image = vec![0u8; (setup_sectors + 1) * 512];
    image[0x1f1] = setup_sectors as u8;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    if !release.is_empty() {
        let text = format!("{release} (builder@host) #1\0");
        image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
    }
    image[0x248..0x24c].copy_from_slice(&100u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.resize(image.len() + 100, 0x90);
    image.extend(payload);
    image.resize(image.len() + 50, 0x90);
    image
}

/// `data` in each supported compression, with its name.
pub(crate) fn compressions(data: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(data).unwrap();
    let mut lz4 = 0x184c_2102u32.to_le_bytes().to_vec();
    // Small blocks, so that there are several.
    for block in data.chunks(1000) {
        let packed = lz4_flex::block::compress(block);
        lz4.extend((packed.len() as u32).to_le_bytes());
        lz4.extend(packed);
    }
    let mut lzma = Vec::new();
    lzma_rs::lzma_compress(&mut &*data, &mut lzma).unwrap();
    let mut xz = Vec::new();
    lzma_rs::xz_compress(&mut &*data, &mut xz).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest);
    vec![("gzip", gzip.finish().unwrap()), ("lz4", lz4), ("lzma", lzma), ("xz", xz), ("zstd", zstd)]
}

/// What a synthetic module says about itself.
pub(crate) fn module(name: &str, depends: &[&str], release: &str) -> Vec<u8> {
    let modinfo = format!(
        "license=GPL\0depends={}\0name={name}\0vermagic={release} SMP mod_unload \0",
        depends.join(",")
    );
    relocatable(&BTreeMap::from([(".text", (2u64, vec![0x90; 33])), (".modinfo", (2, modinfo.into_bytes()))]))
}

/// An ELF64 relocatable file with the given sections (name → flags, contents).
pub(crate) fn relocatable(sections: &BTreeMap<&str, (u64, Vec<u8>)>) -> Vec<u8> {
    let mut file = elf_header(1, 62);
    let mut names = b"\0".to_vec();
    let mut headers = vec![[0u8; SECTION_HEADER_BYTES]];
    let mut add = |file: &mut Vec<u8>, names_at: usize, kind: u32, flags: u64, contents: &[u8]| {
        file.resize(file.len().next_multiple_of(8), 0);
        let mut header = [0u8; SECTION_HEADER_BYTES];
        header[0..4].copy_from_slice(&(names_at as u32).to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[8..16].copy_from_slice(&flags.to_le_bytes());
        header[24..32].copy_from_slice(&(file.len() as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(contents.len() as u64).to_le_bytes());
        header[48..56].copy_from_slice(&8u64.to_le_bytes());
        headers.push(header);
        file.extend(contents);
    };
    for (name, (flags, contents)) in sections {
        let at = names.len();
        names.extend(name.bytes());
        names.push(0);
        add(&mut file, at, 1, *flags, contents);
    }
    let at = names.len();
    names.extend(b".shstrtab\0");
    add(&mut file, at, 3, 0, &names.clone());
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    file[40..48].copy_from_slice(&table.to_le_bytes());
    file[58..60].copy_from_slice(&(SECTION_HEADER_BYTES as u16).to_le_bytes());
    file[60..62].copy_from_slice(&(headers.len() as u16).to_le_bytes());
    file[62..64].copy_from_slice(&(headers.len() as u16 - 1).to_le_bytes());
    file.extend(headers.concat());
    file
}

fn elf_header(kind: u16, machine: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(HEADER_BYTES, 0);
    header[16..18].copy_from_slice(&kind.to_le_bytes());
    header[18..20].copy_from_slice(&machine.to_le_bytes());
    header[52..54].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
    header
}
