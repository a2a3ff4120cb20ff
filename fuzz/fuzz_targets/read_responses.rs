//! Any bytes as what an HTTP server answers: in pieces they say the same as at once.

#![no_main]

#[path = "../../crates/load/tests/support/response.rs"]
mod response;

libfuzzer_sys::fuzz_target!(|input: (&[u8], bool, u8)| {
    let (bytes, is_head, piece_bytes) = input;
    response::check_any_bytes(bytes, is_head, usize::from(piece_bytes));
    // What is behind a status line, without searching for one.
    response::check_any_bytes(&[b"HTTP/1.1 200 OK\r\n", bytes].concat(), is_head, usize::from(piece_bytes));
});
