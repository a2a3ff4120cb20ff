//! Responses of HTTP/1.1 as servers may send them, in any pieces, and bytes that are none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/response.rs"]
mod support;

use proptest::prelude::*;
use support::{check_any_bytes, read_in_pieces};
use virtmark_load::Response;

/// How a response says where its body ends.
#[derive(Clone, Debug)]
enum Framing {
    Chunked(usize),
    Length,
    NoBody,
}

#[derive(Clone, Debug)]
struct Sent {
    status: u16,
    body: Vec<u8>,
    framing: Framing,
    informational: bool,
    closes: bool,
    line_end: &'static str,
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let end = self.line_end;
        let mut text = String::new();
        if self.informational {
            text += &format!("HTTP/1.1 103 Early Hints{end}link: x{end}{end}");
        }
        text += &format!("HTTP/1.1 {} Whatever{end}Date: today{end}X-Content-Length: 7{end}", self.status);
        if self.closes {
            text += &format!("CONNECTION: Upgrade, Close{end}");
        }
        let mut bytes = text.into_bytes();
        match self.framing {
            Framing::Length => {
                bytes.extend(format!("Content-length:  {} {end}{end}", self.body.len()).bytes());
                bytes.extend(&self.body);
            }
            Framing::Chunked(size) => {
                bytes.extend(format!("Transfer-Encoding: gzip, Chunked{end}{end}").bytes());
                for chunk in self.body.chunks(size) {
                    bytes.extend(format!("{:X};a=b{end}", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(end.bytes());
                }
                bytes.extend(format!("0{end}trailer: 1{end}{end}").bytes());
            }
            Framing::NoBody => bytes.extend(end.bytes()),
        }
        bytes
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let status = prop_oneof![Just(200_u16), Just(404), Just(500), 200_u16..1000];
    let framing = prop_oneof![(1_usize..40).prop_map(Framing::Chunked), Just(Framing::Length)];
    let body = prop::collection::vec(any::<u8>(), 0..120);
    let line_end = prop_oneof![Just("\r\n"), Just("\n")];
    (status, body, framing, any::<bool>(), any::<bool>(), line_end).prop_map(
        |(status, body, framing, informational, closes, line_end)| {
            let framing = if matches!(status, 204 | 304) { Framing::NoBody } else { framing };
            Sent { status, body, framing, informational, closes, line_end }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_response_is_read_in_any_pieces(all in prop::collection::vec(sent(), 1..6), piece_bytes in 1_usize..200) {
        let bytes: Vec<u8> = all.iter().flat_map(Sent::bytes).collect();
        let expected: Vec<_> =
            all.iter().map(|sent| Response { status: sent.status, keeps_alive: !sent.closes }).collect();
        prop_assert_eq!(read_in_pieces(&bytes, false, piece_bytes), (expected, None));
    }

    #[test]
    fn pieces_make_no_difference_to_any_bytes(
        mut bytes in sent().prop_map(|sent| sent.bytes()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        is_head in any::<bool>(),
        piece_bytes in 1_usize..50,
    ) {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_any_bytes(&bytes, is_head, piece_bytes);
    }
}

#[test]
fn the_end_of_the_connection_can_be_the_end_of_the_body() {
    let (responses, error) = read_in_pieces(b"HTTP/1.1 200 OK\r\n\r\nany length", false, 3);
    assert_eq!((responses, error), (vec![Response { status: 200, keeps_alive: false }], None));
}

#[test]
fn a_response_to_head_has_no_body() {
    let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHTTP/1.0 200\r\n\r\n";
    let (responses, error) = read_in_pieces(bytes, true, 7);
    let expected = [true, false].map(|keeps_alive| Response { status: 200, keeps_alive });
    assert_eq!((responses, error), (expected.to_vec(), None));
}

#[test]
fn what_is_no_response_is_refused_in_words() {
    for (bytes, why) in [
        ("SSH-2.0-OpenSSH\r\n", "HTTP/1."),
        ("HTTP/1.2 200 OK\r\n", "version"),
        ("HTTP/1.1 20\r\n", "status"),
        ("HTTP/1.1 2000\r\n", "three digits"),
        ("HTTP/1.1 099 x\r\n", "three digits"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n", "length"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n", "two lengths"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n", "length"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", "longer"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "protocol"),
    ] {
        let (responses, error) = read_in_pieces(bytes.as_bytes(), false, 1000);
        assert_eq!(responses, []);
        assert!(error.unwrap().to_string().contains(why), "{bytes:?}");
    }
    let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'a'; 300 * 1024]].concat();
    assert!(read_in_pieces(&endless, false, 4096).1.is_some());
}
