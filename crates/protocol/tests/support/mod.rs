//! What must hold for any bytes on the line. Used by the property tests here and by the fuzz target in `fuzz/`.

use virtmark_protocol::frame::HEADER_BYTES;
use virtmark_protocol::{Decoder, Header, Reply, Request, encode};

/// All frames in a stream that arrives in pieces of these lengths, over and over.
pub(crate) fn decode_in_pieces(line: &[u8], pieces: &[usize]) -> (Vec<(Header, Vec<u8>)>, u64) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    let mut lengths = pieces.iter().copied().filter(|length| *length > 0).cycle();
    let mut rest = line;
    loop {
        while let Some(frame) = decoder.next_frame() {
            frames.push((frame.header, frame.payload.to_vec()));
        }
        if rest.is_empty() {
            return (frames, decoder.skipped_bytes());
        }
        let (piece, later) = rest.split_at(lengths.next().unwrap_or(rest.len()).min(rest.len()));
        decoder.push(piece);
        rest = later;
    }
}

/// Checks a decoder on any bytes; the first ones say into which pieces the others are cut.
pub(crate) fn check_any_line(input: &[u8]) {
    let (lengths, line) = input.split_at(input.len().min(4));
    let pieces: Vec<usize> = lengths.iter().map(|length| usize::from(*length)).collect();
    let (whole, skipped_bytes) = decode_in_pieces(line, &[line.len()]);
    let (pieced, skipped_in_pieces) = decode_in_pieces(line, &pieces);
    assert_eq!(whole, pieced);
    assert_eq!(skipped_bytes, skipped_in_pieces);
    let frame_bytes: usize = whole.iter().map(|(_, payload)| HEADER_BYTES + payload.len()).sum();
    assert!(frame_bytes as u64 + skipped_bytes <= line.len() as u64);
    for (_, payload) in &whole {
        check_any_payload(payload);
    }
    let mut decoder = Decoder::new();
    decoder.push(line);
    while decoder.next_frame().is_some() || decoder.give_up_interrupted() {}
}

/// Checks that what is a message stays the same message, and that nothing else does harm.
pub(crate) fn check_any_payload(payload: &[u8]) {
    let mut line = Vec::new();
    if let Ok(request) = Request::decode(payload) {
        encode(1, 1, &request, &mut line).unwrap();
        assert_eq!(Request::decode(&line[HEADER_BYTES..]).unwrap(), request);
    }
    line.clear();
    if let Ok(reply) = Reply::decode(payload) {
        encode(1, 1, &reply, &mut line).unwrap();
        assert_eq!(Reply::decode(&line[HEADER_BYTES..]).unwrap(), reply);
    }
}
