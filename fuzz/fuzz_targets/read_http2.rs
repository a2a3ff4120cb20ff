//! Any bytes as what an HTTP/2 server sends: in pieces they end the same calls in the same way as at once.

#![no_main]

use virtmark_load::fuzzing::read_http2;

libfuzzer_sys::fuzz_target!(|input: (&[u8], u8, u8, bool)| {
    let (bytes, calls, piece_bytes, is_framed) = input;
    let framed = if is_framed { framed(bytes) } else { bytes.to_vec() };
    let calls = u32::from(calls % 8);
    let whole = read_http2(&framed, calls, framed.len());
    assert_eq!(read_http2(&framed, calls, usize::from(piece_bytes)), whole);
});

/// Frames of what would rarely be some: a byte each for length, type, flags and stream, and what follows as content.
fn framed(mut bytes: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    while let [length, kind, flags, stream, rest @ ..] = bytes {
        let (content, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        line.extend_from_slice(&[0, 0, content.len() as u8, *kind % 11, *flags, 0, 0, 0, *stream % 18]);
        line.extend_from_slice(content);
        bytes = rest;
    }
    line
}
