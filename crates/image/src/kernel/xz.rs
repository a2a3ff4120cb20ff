//! The xz container, as far as Linux uses it (The .xz File Format 1.1.0): one stream of blocks, each LZMA2 with or
//! without the x86 branch filter.
//!
//! `lzma-rs` decodes the LZMA2 data; its own container reader knows no filters, and x86 kernels are packed with one.

use super::x86_filter;
use crate::elf::read_u32;

const STREAM_HEADER_BYTES: usize = 12;
const FILTER_LZMA2: u64 = 0x21;
const FILTER_X86: u64 = 0x04;
const CHECK_CRC32: u8 = 1;

/// Unpacks the first stream of `file`.
pub(super) fn decompress(file: &[u8]) -> Result<Vec<u8>, String> {
    let check = *file.get(7).ok_or_else(cut_off)? & 0x0f;
    let mut rest = file.get(STREAM_HEADER_BYTES..).ok_or_else(cut_off)?;
    let mut output = Vec::new();
    // A zero in place of a block header's size begins the index, after which nothing is unpacked any more.
    while *rest.first().ok_or_else(cut_off)? != 0 {
        let filtered = read_block_header(&mut rest)?;
        let before = rest.len();
        let mut block = Vec::new();
        lzma_rs::lzma2_decompress(&mut rest, &mut block)
            .map_err(|error| format!("its xz stream is broken: {error:?}"))?;
        if filtered {
            x86_filter::decode(&mut block);
        }
        let packed_bytes = before - rest.len();
        skip(&mut rest, packed_bytes.next_multiple_of(4) - packed_bytes)?;
        verify(&block, check, rest)?;
        skip(&mut rest, check_bytes(check))?;
        output.append(&mut block);
    }
    Ok(output)
}

/// Reads a block header; true when the x86 filter was applied.
fn read_block_header(rest: &mut &[u8]) -> Result<bool, String> {
    let header_bytes = (usize::from(rest[0]) + 1) * 4;
    let header = rest.get(..header_bytes).ok_or_else(cut_off)?;
    *rest = &rest[header_bytes..];
    let (fields, sum) = header.split_at(header_bytes - 4);
    if Some(crc32(fields)) != read_u32(sum, 0) {
        return Err("its xz stream is broken: a block header does not match its checksum".to_owned());
    }
    let flags = fields[1];
    let mut at = &fields[2..];
    for present in [0x40, 0x80] {
        if flags & present != 0 {
            read_number(&mut at)?;
        }
    }
    let mut filters = Vec::new();
    for _ in 0..=(flags & 0x03) {
        let filter = read_number(&mut at)?;
        let property_bytes = read_number(&mut at)?;
        let properties = usize::try_from(property_bytes).ok().and_then(|count| at.split_at_checked(count));
        let (properties, after) = properties.ok_or_else(cut_off)?;
        // The x86 filter may name the address that its data starts at; Linux's decoder refuses that too.
        if filter == FILTER_X86 && !properties.is_empty() {
            return Err("its xz filter has a start offset, which is not supported".to_owned());
        }
        filters.push(filter);
        at = after;
    }
    match filters[..] {
        [FILTER_LZMA2] => Ok(false),
        [FILTER_X86, FILTER_LZMA2] => Ok(true),
        _ => Err(format!("its xz filters {filters:x?} are not supported")),
    }
}

/// A number in groups of seven bits, least significant first.
fn read_number(at: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, after) = at.split_first().ok_or_else(cut_off)?;
        *at = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("its xz stream is broken: a number is too long".to_owned())
}

/// Linux writes CRC32 and its decoder checks nothing else either.
fn verify(block: &[u8], check: u8, sum: &[u8]) -> Result<(), String> {
    if check == CHECK_CRC32 && read_u32(sum, 0) != Some(crc32(block)) {
        return Err("its xz stream is broken: a block does not match its checksum".to_owned());
    }
    Ok(())
}

/// Size of the check field by its type (section 2.1.1.2).
fn check_bytes(check: u8) -> usize {
    match check {
        0 => 0,
        kind => 4 << ((kind - 1) / 3),
    }
}

fn skip(rest: &mut &[u8], count: usize) -> Result<(), String> {
    *rest = rest.get(count..).ok_or_else(cut_off)?;
    Ok(())
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn cut_off() -> String {
    "its xz stream is cut off".to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn check_sizes_are_those_of_the_format() {
        let sizes: Vec<_> = (0..16).map(check_bytes).collect();
        assert_eq!(sizes, [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64]);
    }

    /// Pseudo-code full of calls and jumps, near each other and with all kinds of upper bytes.
    fn branches() -> Vec<u8> {
        let mut state = 1u32;
        (0..4000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match state >> 29 {
                    0 => 0xe8,
                    1 => 0xe9,
                    2 | 3 => 0x00,
                    4 | 5 => 0xff,
                    _ => (state >> 16) as u8,
                }
            })
            .collect()
    }

    #[test]
    fn the_x86_filter_is_undone_as_xz_does_it() {
        // Made with `xz --check=crc32 --x86 --lzma2=preset=9` from the bytes above.
        let packed = include_bytes!("../../tests/data/branches.xz");
        assert_eq!(decompress(packed).unwrap(), branches());
    }

    #[test]
    fn a_flipped_bit_does_not_pass() {
        let packed = include_bytes!("../../tests/data/branches.xz");
        let mut broken = packed.to_vec();
        let middle = broken.len() / 2;
        broken[middle] ^= 0x10;
        assert_ne!(decompress(&broken).ok(), Some(branches()));
    }

    #[test]
    fn the_xz_program_is_understood_with_several_blocks() {
        let spawned = Command::new("xz")
            .args(["-c", "--check=crc32", "--block-size=1KiB", "--x86", "--lzma2=preset=6"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            println!("skipped: there is no xz program here");
            return;
        };
        child.stdin.take().unwrap().write_all(&branches()).unwrap();
        let packed = child.wait_with_output().unwrap().stdout;
        assert_eq!(decompress(&packed).unwrap(), branches());
    }
}
