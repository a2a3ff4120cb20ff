//! As much of HPACK (RFC 7541) as a generator needs: requests without compression, and the status of responses.
//!
//! Both sides work with an empty dynamic table: ours because we never add to it, the server's because our settings say
//! that it may hold nothing. So blocks do not depend on each other.

use crate::http::request::Request;

/// Entries of the static table (appendix A).
const STATIC_ENTRIES: u64 = 61;
/// `:status` entries of the static table, with their values.
const STATUSES: [(u64, u16); 7] = [(8, 200), (9, 204), (10, 206), (11, 304), (12, 400), (13, 404), (14, 500)];

/// The block of a request.
pub(crate) fn encode(request: &Request) -> Vec<u8> {
    let mut block = Vec::new();
    match request.method.as_str() {
        "GET" => block.push(0x80 | 2),
        "POST" => block.push(0x80 | 3),
        method => literal(&mut block, 2, "", method),
    }
    // `:scheme` http.
    block.push(0x80 | 6);
    literal(&mut block, 4, "", &request.target);
    literal(&mut block, 1, "", &request.authority);
    for (name, value) in &request.headers {
        literal(&mut block, 0, name, value);
    }
    block
}

/// A literal without indexing, its name by the static table or, for 0, as text.
fn literal(block: &mut Vec<u8>, index: u8, name: &str, value: &str) {
    // All indices that are used here fit into the four bits.
    block.push(index);
    if index == 0 {
        text(block, name);
    }
    text(block, value);
}

fn text(block: &mut Vec<u8>, text: &str) {
    integer(block, 7, text.len() as u64);
    block.extend_from_slice(text.as_bytes());
}

/// Section 5.1; the bits above the prefix are 0.
fn integer(block: &mut Vec<u8>, prefix_bits: u32, value: u64) {
    let limit = (1 << prefix_bits) - 1;
    if value < limit {
        block.push(value as u8);
        return;
    }
    block.push(limit as u8);
    let mut rest = value - limit;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

/// The status that a block says, none when it has none (trailers); an error when the block cannot be read.
pub(crate) fn status(mut block: &[u8]) -> Result<Option<u16>, ()> {
    let mut status = None;
    while let Some(&first) = block.first() {
        let (index, value) = match first {
            // Indexed.
            0x80.. => {
                let index = read_integer(&mut block, 7)?;
                if !(1..=STATIC_ENTRIES).contains(&index) {
                    return Err(());
                }
                (index, None)
            }
            // The size of the dynamic table; it has to stay 0.
            0x20..0x40 => {
                if read_integer(&mut block, 5)? != 0 {
                    return Err(());
                }
                continue;
            }
            // Literals, with indexing and without. Nothing stays in a table without room.
            _ => {
                let index = read_integer(&mut block, if first >= 0x40 { 6 } else { 4 })?;
                let name = if index == 0 { Some(read_text(&mut block)?) } else { None };
                if index > STATIC_ENTRIES {
                    return Err(());
                }
                let value = read_text(&mut block)?;
                let is_status = (8..=14).contains(&index)
                    || name.is_some_and(|name| {
                        name.bytes == b":status" || name.is_huffman && name.bytes == STATUS_NAME
                    });
                (if is_status { 8 } else { STATIC_ENTRIES }, Some(value))
            }
        };
        if !(8..=14).contains(&index) {
            continue;
        }
        let value = match value {
            Some(value) => value.digits()?,
            None => STATUSES.iter().find(|(at, _)| *at == index).map(|(_, status)| *status).ok_or(())?,
        };
        if status.replace(value).is_some() {
            return Err(());
        }
    }
    Ok(status)
}

/// `:status` in the Huffman code of appendix B.
const STATUS_NAME: &[u8] = &[0xb8, 0x84, 0x8d, 0x36, 0xa3];

struct Text<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

impl Text<'_> {
    /// The number of three digits that it is. In the Huffman code 0 to 2 have five bits, 3 to 9 six.
    fn digits(&self) -> Result<u16, ()> {
        let mut number = 0;
        let mut count = 0;
        let mut add = |digit: u8| {
            number = number * 10 + u16::from(digit);
            count += 1;
        };
        if self.is_huffman {
            if self.bytes.len() > 3 {
                return Err(());
            }
            let mut bits = self.bytes.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            let mut left = self.bytes.len() as u32 * 8;
            while left >= 5 {
                let five = (bits >> (left - 5)) as u8 & 0x1f;
                let (digit, length) = match five {
                    0..=2 => (five, 5),
                    _ if left >= 6 => ((bits >> (left - 6)) as u8 & 0x3f, 6),
                    _ => break,
                };
                match (digit, length) {
                    (digit, 5) => add(digit),
                    (digit @ 0x19..=0x1f, _) => add(digit - 0x19 + 3),
                    _ => break,
                }
                left -= length;
                bits &= (1 << left) - 1;
            }
            // What is left is the beginning of a code of ones.
            if left >= 8 || bits != (1 << left) - 1 {
                return Err(());
            }
        } else {
            for byte in self.bytes.iter().take(4) {
                add(byte.is_ascii_digit().then(|| byte - b'0').ok_or(())?);
            }
        }
        if count == 3 && number >= 100 { Ok(number) } else { Err(()) }
    }
}

fn read_text<'a>(block: &mut &'a [u8]) -> Result<Text<'a>, ()> {
    let is_huffman = block.first().ok_or(())? & 0x80 != 0;
    let length = usize::try_from(read_integer(block, 7)?).map_err(|_| ())?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(())?;
    *block = rest;
    Ok(Text { bytes, is_huffman })
}

fn read_integer(block: &mut &[u8], prefix_bits: u32) -> Result<u64, ()> {
    let mut next = || {
        let (first, rest) = block.split_first().ok_or(())?;
        *block = rest;
        Ok(u64::from(*first))
    };
    let limit = (1 << prefix_bits) - 1;
    let mut value = next()? & limit;
    if value < limit {
        return Ok(value);
    }
    // Five bytes hold more than any length or index that makes sense.
    for shift in (0..35).step_by(7) {
        let byte = next()?;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, section C.1, and appendix C.5.1 and C.6.1 (`302`, the second with the Huffman code).
    #[test]
    fn published_examples() {
        assert_eq!(read_integer(&mut &[0b0000_1010][..], 5), Ok(10));
        assert_eq!(read_integer(&mut &[0b0001_1111, 0b1001_1010, 0b0000_1010][..], 5), Ok(1337));
        let mut block = Vec::new();
        integer(&mut block, 5, 1337);
        assert_eq!(block, [0b0001_1111, 0b1001_1010, 0b0000_1010]);
        assert_eq!(status(b"\x48\x03302"), Ok(Some(302)));
        assert_eq!(status(b"\x48\x82\x64\x02"), Ok(Some(302)));
        assert_eq!(status(b"\x48\x83\x64\x0e\xff"), Ok(Some(307)));
    }

    #[test]
    fn statuses_are_found_among_fields() {
        assert_eq!(status(&[0x20, 0x88, 0x0f, 0x0d, 1, b'5']), Ok(Some(200)));
        assert_eq!(status(b"\x00\x07:status\x03418"), Ok(Some(418)));
        assert_eq!(status(b"\x00\x85\xb8\x84\x8d\x36\xa3\x03418"), Ok(Some(418)));
        assert_eq!(status(b"\x00\x01a\x01b"), Ok(None));
        assert_eq!(status(b""), Ok(None));
    }

    #[test]
    fn broken_blocks_are_refused() {
        for block in [
            &b"\x80"[..],        // index 0
            b"\xbe",             // the first of the dynamic table
            b"\x3f\xe1\x1f",     // a dynamic table with room
            b"\x48\x0330",       // cut off
            b"\x48\x02\x30\x30", // two digits
            b"\x48\x03abc",
            b"\x88\x88", // two statuses
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(status(block), Err(()), "{block:x?}");
        }
    }
}
