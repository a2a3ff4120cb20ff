//! The legacy LZ4 frame that Linux uses (LZ4 Frame Format 1.6, "Legacy frame"): a magic number, then blocks, each with
//! its compressed size in front. A block holds at most 8 MiB.

use crate::elf::read_u32;

const MAGIC: u32 = 0x184c_2102;
const BLOCK_BYTES: usize = 8 << 20;

/// Unpacks a frame; the magic number may be repeated between blocks, as in concatenated files.
pub(super) fn decompress(frame: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = frame;
    let mut output = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    while !rest.is_empty() {
        let size = read_u32(rest, 0).ok_or("its lz4 stream ends within a block's size")?;
        rest = &rest[4..];
        if size == MAGIC {
            continue;
        }
        let (packed, after) = rest
            .split_at_checked(size as usize)
            .ok_or_else(|| format!("its lz4 stream ends within a block of {size} bytes"))?;
        let count = lz4_flex::block::decompress_into(packed, &mut block)
            .map_err(|error| format!("its lz4 stream is broken: {error}"))?;
        output.extend_from_slice(&block[..count]);
        rest = after;
    }
    Ok(output)
}
