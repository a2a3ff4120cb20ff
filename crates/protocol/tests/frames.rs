//! Frames on lines of every kind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use proptest::prelude::*;
use virtmark_protocol::frame::{HEADER_BYTES, MAGIC, MAX_PAYLOAD_BYTES};
use virtmark_protocol::{Decoder, EncodeError, Header, VERSION, encode};

use support::{check_any_line, check_any_payload, decode_in_pieces};

fn frame(session: u64, request: u32, content: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    encode(session, request, content, &mut line).unwrap();
    line
}

/// Session, request and content of a frame.
type Sent = (u64, u32, Vec<u8>);

fn sent() -> impl Strategy<Value = Sent> {
    // Content that looks like the start of a frame, now and then.
    let byte = prop_oneof![4 => any::<u8>(), 1 => prop::sample::select(MAGIC.to_vec())];
    (any::<u64>(), any::<u32>(), prop::collection::vec(byte, 0..200))
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(prop::sample::select(MAGIC.to_vec()), 0..60),
        // The head of a frame that was cut off. The start of another frame cannot be its missing end.
        (any::<u64>(), 0usize..200, 0usize..300).prop_map(|(session, length, kept)| {
            let mut cut = frame(session, 1, &vec![0x55; length]);
            cut.truncate(kept.min(cut.len() - 1));
            cut
        }),
    ]
}

fn payload_of(sent: &Sent) -> (Header, Vec<u8>) {
    let header = Header { version: VERSION, session: sent.0, request: sent.1 };
    (header, frame(sent.0, sent.1, &sent.2)[HEADER_BYTES..].to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn intact_frames_are_found_whatever_lies_between_them(
        parts in prop::collection::vec((garbage(), sent()), 1..6),
        pieces in prop::collection::vec(1usize..100, 1..5),
    ) {
        let mut line = Vec::new();
        for (garbage, sent) in &parts {
            line.extend_from_slice(garbage);
            line.extend(frame(sent.0, sent.1, &sent.2));
        }
        // Enough that no cut frame still waits for its payload.
        let garbage_bytes: usize = parts.iter().map(|(garbage, _)| garbage.len()).sum();
        line.extend([0; 600]);
        let (found, skipped_bytes) = decode_in_pieces(&line, &pieces);
        let expected: Vec<_> = parts.iter().map(|(_, sent)| payload_of(sent)).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(skipped_bytes, garbage_bytes as u64 + 600);
    }

    #[test]
    fn a_frame_with_one_flipped_bit_is_no_frame_and_harms_no_other(
        frames in prop::collection::vec(sent(), 3..4),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut damaged = frame(frames[1].0, frames[1].1, &frames[1].2);
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        prop_assert_eq!(decode_in_pieces(&damaged, &[]).0, []);
        let mut line = frame(frames[0].0, frames[0].1, &frames[0].2);
        line.extend(damaged);
        line.extend(frame(frames[2].0, frames[2].1, &frames[2].2));
        prop_assert_eq!(decode_in_pieces(&line, &[]).0, [payload_of(&frames[0]), payload_of(&frames[2])]);
    }

    #[test]
    fn an_interrupted_frame_is_given_up_for_an_intact_one_and_for_nothing_else(
        (session, length) in (any::<u64>(), 0usize..200),
        kept in any::<prop::sample::Index>(),
        next in sent(),
    ) {
        // The start of another frame cannot be the missing end.
        let cut = frame(session, 0, &vec![0x55; length]);
        let cut = &cut[..kept.index(cut.len())];
        let mut decoder = Decoder::new();
        decoder.push(cut);
        prop_assert_eq!(decoder.next_frame(), None);
        prop_assert!(!decoder.give_up_interrupted());
        decoder.push(&frame(next.0, next.1, &next.2));
        let (header, payload) = payload_of(&next);
        if decoder.next_frame().is_none_or(|found| found.header != header) {
            prop_assert!(decoder.awaits_payload());
            prop_assert!(decoder.give_up_interrupted());
            let found = decoder.next_frame().unwrap();
            prop_assert_eq!((found.header, found.payload), (header, &payload[..]));
        }
        prop_assert_eq!(decoder.skipped_bytes(), cut.len() as u64);
        prop_assert!(!decoder.awaits_payload());
    }

    #[test]
    fn any_bytes_do_no_harm(line in prop::collection::vec(any::<u8>(), 0..400)) {
        check_any_line(&line);
        check_any_payload(&line);
    }

    #[test]
    fn any_frames_do_no_harm(parts in prop::collection::vec((garbage(), sent()), 0..4)) {
        let mut input = vec![3, 0, 40, 1];
        for (garbage, (session, request, content)) in parts {
            input.extend(garbage);
            // Any bytes as a payload, not only those that are messages.
            let mut any = frame(session, request, &[]);
            any.truncate(HEADER_BYTES);
            any.extend_from_slice(&content);
            any[8..12].copy_from_slice(&(content.len() as u32).to_le_bytes());
            any[24..28].copy_from_slice(&virtmark_protocol::checksum_append(0, &content).to_le_bytes());
            let checksum = virtmark_protocol::checksum_append(0, &any[..28]);
            any[28..32].copy_from_slice(&checksum.to_le_bytes());
            input.extend(any);
        }
        check_any_line(&input);
    }
}

#[test]
fn a_frame_may_be_split_anywhere() {
    let line = [frame(1, 2, b"content"), frame(3, 4, &[7; 500])].concat();
    for at in 0..line.len() {
        let mut decoder = Decoder::new();
        let mut found = 0;
        for piece in [&line[..at], &line[at..]] {
            decoder.push(piece);
            while decoder.next_frame().is_some() {
                found += 1;
            }
        }
        assert_eq!((found, decoder.skipped_bytes()), (2, 0), "split at {at}");
    }
}

#[test]
fn the_bytes_of_a_frame_are_these() {
    let line = frame(0x1122_3344_5566_7788, 0xaabb_ccdd, b"hi");
    let expected = [
        0x9e, b'V', b'm', 0xf1, // magic
        0x01, 0x00, // version
        0x00, 0x00, // reserved
        0x03, 0x00, 0x00, 0x00, // payload length
        0xdd, 0xcc, 0xbb, 0xaa, // request
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // session
    ];
    assert_eq!(line[..24], expected);
    let payload = [2, b'h', b'i'];
    assert_eq!(line[24..28], crc32c::crc32c(&payload).to_le_bytes());
    assert_eq!(line[28..32], crc32c::crc32c(&line[..28]).to_le_bytes());
    assert_eq!(line[32..], payload);
    // The polynomial is Castagnoli's: the check value of RFC 3720 and of every catalogue.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_frame_of_another_version_is_given_as_such() {
    let mut line = frame(1, 2, b"");
    line[4..6].copy_from_slice(&500u16.to_le_bytes());
    let checksum = crc32c::crc32c(&line[..28]);
    line[28..32].copy_from_slice(&checksum.to_le_bytes());
    let mut decoder = Decoder::new();
    decoder.push(&line);
    assert_eq!(decoder.next_frame().unwrap().header, Header { version: 500, session: 1, request: 2 });
}

#[test]
fn the_largest_frame_passes_and_a_larger_one_is_refused() {
    // Three bytes of the payload are the length of the content.
    let content = vec![5; MAX_PAYLOAD_BYTES - 3];
    let line = frame(1, 1, &content);
    assert_eq!(decode_in_pieces(&line, &[65_536]).0.len(), 1);
    let mut out = vec![1, 2, 3];
    let refused = encode(1, 1, &vec![5u8; MAX_PAYLOAD_BYTES - 2][..], &mut out).unwrap_err();
    assert!(matches!(refused, EncodeError::TooLarge { bytes } if bytes == MAX_PAYLOAD_BYTES + 1));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn a_stream_of_any_length_needs_little_memory() {
    let line = frame(1, 1, &[9; 30_000]);
    let mut decoder = Decoder::new();
    for _ in 0..2000 {
        let mut reader = &line[..];
        while decoder.read_from(&mut reader).unwrap() > 0 {}
        assert_eq!(decoder.next_frame().unwrap().payload.len(), 30_003);
        assert_eq!(decoder.next_frame(), None);
    }
    assert!(format!("{decoder:?}").len() < 2_000_000, "the buffer has grown");
}
