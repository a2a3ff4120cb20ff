//! What holds for any bytes that a server may send. The fuzz target states the same.

use virtmark_load::{Malformed, Response, ResponseReader};

/// Read at once and read in pieces, the bytes say the same; no more is taken than is there.
pub(crate) fn check_any_bytes(bytes: &[u8], is_head: bool, piece_bytes: usize) {
    let whole = read_in_pieces(bytes, is_head, bytes.len().max(1));
    let pieces = read_in_pieces(bytes, is_head, piece_bytes.clamp(1, bytes.len().max(1)));
    assert_eq!(whole, pieces);
}

/// All responses in the bytes, and what was wrong behind them; the last may end with the connection.
pub(crate) fn read_in_pieces(
    bytes: &[u8],
    is_head: bool,
    piece_bytes: usize,
) -> (Vec<Response>, Option<Malformed>) {
    let mut reader = ResponseReader::new(is_head);
    let mut responses = Vec::new();
    let mut waiting = Vec::new();
    for piece in bytes.chunks(piece_bytes) {
        waiting.extend_from_slice(piece);
        loop {
            match reader.read(&waiting) {
                Ok((taken, response)) => {
                    assert!(taken <= waiting.len());
                    waiting.drain(..taken);
                    match response {
                        Some(response) => {
                            assert!((200..1000).contains(&response.status));
                            responses.push(response);
                        }
                        None => break,
                    }
                }
                Err(error) => return (responses, Some(error)),
            }
        }
    }
    responses.extend(reader.end());
    (responses, None)
}
