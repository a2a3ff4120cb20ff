//! Rewrites an uncompressed kernel with only what a virtual machine monitor reads: the segments to load and the notes.
//!
//! Linux links its kernel with zero-filled memory (`.bss`, `.brk`) and alignment gaps stored in the file. They are more
//! than a third of it, and are read from disk at each boot. A segment may be shorter in the file than in memory; the rest is
//! zero (System V ABI, chapter 5).

use crate::elf::{Elf, HEADER_BYTES, PROGRAM_HEADER_BYTES, PT_LOAD, PT_NOTE, Segment};

const PAGE_BYTES: usize = 4096;

/// A file with the same entry point and the same memory contents as `elf`.
pub(super) fn pack(elf: Elf<'_>, segments: &[Segment]) -> Result<Vec<u8>, String> {
    let kept: Vec<&Segment> =
        segments.iter().filter(|segment| matches!(segment.kind, PT_LOAD | PT_NOTE)).collect();
    let mut output = elf.bytes()[..HEADER_BYTES].to_vec();
    output.resize(HEADER_BYTES + kept.len() * PROGRAM_HEADER_BYTES, 0);
    set_header(&mut output, kept.len());
    for (index, segment) in kept.into_iter().enumerate() {
        let contents =
            elf.slice(segment.offset, segment.file_bytes).ok_or("a segment lies outside the file")?;
        let mut placed = *segment;
        if segment.kind == PT_LOAD {
            let contents = without_zero_pages(contents);
            output.resize(output.len().next_multiple_of(PAGE_BYTES), 0);
            // An offset must be congruent to the address it is loaded at.
            output.resize(output.len() + (segment.virtual_address as usize % PAGE_BYTES), 0);
            placed.file_bytes = contents.len() as u64;
            placed.align = PAGE_BYTES as u64;
            placed.offset = output.len() as u64;
            output.extend_from_slice(contents);
        } else {
            // Notes are a few hundred bytes: a second copy is simpler than pointing into a loaded segment.
            output.resize(output.len().next_multiple_of(8), 0);
            placed.offset = output.len() as u64;
            output.extend_from_slice(contents);
        }
        let at = HEADER_BYTES + index * PROGRAM_HEADER_BYTES;
        write_segment(&mut output[at..at + PROGRAM_HEADER_BYTES], &placed);
    }
    Ok(output)
}

/// Points the header at the program headers right behind it and at no section headers.
fn set_header(header: &mut [u8], segment_count: usize) {
    header[32..40].copy_from_slice(&(HEADER_BYTES as u64).to_le_bytes());
    header[40..48].fill(0);
    header[52..54].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
    header[54..56].copy_from_slice(&(PROGRAM_HEADER_BYTES as u16).to_le_bytes());
    // The count came from a 16-bit field.
    header[56..58].copy_from_slice(&(segment_count as u16).to_le_bytes());
    header[58..64].fill(0);
}

fn write_segment(header: &mut [u8], segment: &Segment) {
    header[0..4].copy_from_slice(&segment.kind.to_le_bytes());
    header[4..8].copy_from_slice(&segment.flags.to_le_bytes());
    let doubles = [
        segment.offset,
        segment.virtual_address,
        segment.physical_address,
        segment.file_bytes,
        segment.memory_bytes,
        segment.align,
    ];
    for (slot, value) in header[8..].chunks_exact_mut(8).zip(doubles) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
}

/// `contents` up to the last page that is not zero; at least one page, because loaders treat empty segments differently.
fn without_zero_pages(contents: &[u8]) -> &[u8] {
    const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    let pages =
        contents.chunks(PAGE_BYTES).rposition(|page| page != &ZEROS[..page.len()]).map_or(1, |last| last + 1);
    &contents[..contents.len().min(pages * PAGE_BYTES)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, Piece};

    /// What ends up in memory, byte by byte, as the ABI says; zeros are left out.
    fn memory(file: &[u8]) -> BTreeMap<u64, u8> {
        let elf = Elf::parse(file).unwrap();
        let mut memory = BTreeMap::new();
        for segment in elf.segments().unwrap() {
            if segment.kind == PT_LOAD {
                let contents = elf.slice(segment.offset, segment.file_bytes).unwrap();
                for (at, byte) in contents.iter().enumerate().filter(|(_, byte)| **byte != 0) {
                    memory.insert(segment.physical_address + at as u64, *byte);
                }
            }
        }
        memory
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn memory_is_the_same_and_the_file_no_longer(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 1..6000), 0usize..20_000, 0u64..0x2000),
                1..4,
            ),
        ) {
            let pieces: Vec<_> = pieces
                .into_iter()
                .enumerate()
                .map(|(index, (mut contents, zeros, address))| {
                    contents.resize(contents.len() + zeros, 0);
                    Piece { address: (index as u64 + 1) * 0x10_0000 + address, contents }
                })
                .collect();
            let file = testing::elf_file(62, &pieces, &testing::pvh_note());
            let elf = Elf::parse(&file).unwrap();
            let segments = elf.segments().unwrap();
            let packed = pack(elf, &segments).unwrap();
            prop_assert_eq!(memory(&packed), memory(&file));

            let after = Elf::parse(&packed).unwrap().segments().unwrap();
            prop_assert_eq!(after.len(), segments.len());
            for (new, old) in after.iter().zip(&segments) {
                prop_assert_eq!(new.memory_bytes, old.memory_bytes);
                if new.kind == PT_LOAD {
                    prop_assert_eq!(new.offset % 4096, new.virtual_address % 4096);
                    prop_assert!(new.file_bytes <= old.file_bytes);
                } else {
                    prop_assert_eq!(
                        Elf::parse(&packed).unwrap().slice(new.offset, new.file_bytes),
                        elf.slice(old.offset, old.file_bytes)
                    );
                }
            }
        }
    }
}
