//! Any bytes on the line: frames come out the same however the bytes are cut, and nothing does harm.

#![no_main]

#[path = "../../crates/protocol/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    support::check_any_line(input);
    support::check_any_line(&with_checksums(input));
});

/// Makes frames of what is laid out like one, so that the checksums do not stop the fuzzer at the door.
fn with_checksums(input: &[u8]) -> Vec<u8> {
    let checksum = |bytes: &[u8]| virtmark_protocol::checksum_append(0, bytes).to_le_bytes();
    let mut line = input.to_vec();
    let mut at = 0;
    while let Some(rest) = line.get_mut(at..).filter(|rest| rest.len() >= 32) {
        if rest[..2] != virtmark_protocol::frame::MAGIC[..2] {
            at += 1;
            continue;
        }
        rest[..4].copy_from_slice(&virtmark_protocol::frame::MAGIC);
        let length = usize::from(rest[8]).min(rest.len() - 32);
        rest[8..12].copy_from_slice(&(length as u32).to_le_bytes());
        let payload_checksum = checksum(&rest[32..32 + length]);
        rest[24..28].copy_from_slice(&payload_checksum);
        let header_checksum = checksum(&rest[..28]);
        rest[28..32].copy_from_slice(&header_checksum);
        at += 32 + length;
    }
    line
}
