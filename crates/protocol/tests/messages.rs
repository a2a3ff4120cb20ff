//! Golden bytes: a change here is a change of the protocol, and needs a new version.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use virtmark_protocol::frame::HEADER_BYTES;
use virtmark_protocol::{
    Clocks, DecodeError, ErrorKind, Exec, Facts, Program, Reply, Request, ResourceUse, Status, encode,
};

fn payload<M: serde::Serialize>(message: &M) -> Vec<u8> {
    let mut line = Vec::new();
    encode(1, 1, message, &mut line).unwrap();
    line.split_off(HEADER_BYTES)
}

#[track_caller]
fn request(request: Request<'_>, golden: &[u8]) {
    assert_eq!(payload(&request), golden);
    assert_eq!(Request::decode(golden).unwrap(), request);
}

#[track_caller]
fn reply(reply: Reply<'_>, golden: &[u8]) {
    assert_eq!(payload(&reply), golden);
    assert_eq!(Reply::decode(golden).unwrap(), reply);
}

#[test]
fn requests_are_these_bytes() {
    request(Request::Hello, &[0]);
    request(
        Request::Exec(Exec {
            program: Program::Argv(vec!["ls", "-l"]),
            env: vec![("A", "b")],
            cwd: Some("/"),
            stdin: b"in",
            stdin_follows: true,
            timeout_ns: Some(300),
            window_bytes: 128,
        }),
        b"\x01\x00\x02\x02ls\x02-l\x01\x01A\x01b\x01\x01/\x02in\x01\x01\xac\x02\x80\x01",
    );
    request(
        Request::Exec(Exec {
            program: Program::Shell("w"),
            env: vec![],
            cwd: None,
            stdin: b"",
            stdin_follows: false,
            timeout_ns: None,
            window_bytes: 1,
        }),
        b"\x01\x01\x01w\x00\x00\x00\x00\x00\x01",
    );
    request(Request::Stdin(b"ab"), b"\x02\x02ab");
    request(Request::StdinEnd, &[3]);
    request(Request::Credit(300), &[4, 0xac, 2]);
    request(Request::Kill, &[5]);
    request(Request::Close, &[6]);
    request(Request::Put { path: "/f", mode: 0o644, size_bytes: 5 }, b"\x07\x02/f\xa4\x03\x05");
    request(Request::PutData(b"xyz"), b"\x08\x03xyz");
    request(Request::PutEnd { crc32c: 0x80 }, &[9, 0x80, 1]);
    request(Request::Get { path: "/f", window_bytes: 9 }, b"\x0a\x02/f\x09");
    request(Request::Clock, &[11]);
    request(Request::Shutdown, &[12]);
    let machine_id = *b"0123456789abcdef";
    request(
        Request::Personalize { hostname: "m1", machine_id, entropy: b"xyz", realtime_ns: 300 },
        b"\x0d\x02m10123456789abcdef\x03xyz\xac\x02",
    );
    request(Request::SetClock { realtime_ns: 300 }, &[14, 0xac, 2]);
}

#[test]
fn replies_are_these_bytes() {
    reply(Reply::Ready, &[0]);
    let facts = Facts { agent_version: "1", kernel: "6.1", init_started_ns: 1, ready_ns: 2, is_init: true };
    reply(Reply::Hello(facts), b"\x01\x011\x036.1\x01\x02\x01");
    reply(Reply::Stdout(b"o"), b"\x02\x01o");
    reply(Reply::Stderr(b"e"), b"\x03\x01e");
    reply(Reply::OutputEnd, &[4]);
    let resource_use = ResourceUse { user_ns: 1, system_ns: 2, max_rss_bytes: 3, context_switches: 4 };
    // Signed numbers are in zigzag.
    reply(Reply::Exited { status: Status::Exited(3), resource_use }, &[5, 0, 6, 1, 2, 3, 4]);
    reply(Reply::Exited { status: Status::Signaled(9), resource_use }, &[5, 1, 18, 1, 2, 3, 4]);
    reply(Reply::Exited { status: Status::TimedOut, resource_use }, &[5, 2, 1, 2, 3, 4]);
    reply(Reply::StdinCredit(7), &[6, 7]);
    reply(Reply::PutDone, &[7]);
    reply(Reply::GetStart { mode: 0o600, size_bytes: 5 }, &[8, 0x80, 3, 5]);
    reply(Reply::GetData(b"d"), b"\x09\x01d");
    reply(Reply::GetEnd { crc32c: 1 }, &[10, 1]);
    let clocks = Clocks { monotonic_ns: 1, boottime_ns: 2, realtime_ns: 3 };
    reply(Reply::Clock(clocks), &[11, 1, 2, 3]);
    reply(Reply::ShuttingDown, &[12]);
    let kinds = [
        ErrorKind::BadRequest,
        ErrorKind::Checksum,
        ErrorKind::Io,
        ErrorKind::NoSpace,
        ErrorKind::NotFound,
        ErrorKind::NotRegular,
        ErrorKind::PermissionDenied,
        ErrorKind::Version,
    ];
    for (number, kind) in (0..).zip(kinds) {
        reply(Reply::Error { kind, message: "m" }, &[13, number, 1, b'm']);
    }
    reply(Reply::Personalized, &[14]);
    reply(Reply::ClockSet, &[15]);
}

#[test]
fn what_is_no_message_is_refused() {
    assert!(matches!(Request::decode(&[15]), Err(DecodeError::Malformed(_))));
    assert!(matches!(Request::decode(&[]), Err(DecodeError::Malformed(_))));
    assert!(matches!(Request::decode(&[0, 0]), Err(DecodeError::TrailingBytes { bytes: 1 })));
    // A length that lies.
    assert!(matches!(Request::decode(&[2, 200, 1, 0]), Err(DecodeError::Malformed(_))));
    // Not UTF-8.
    assert!(matches!(Request::decode(b"\x0a\x01\xff\x09"), Err(DecodeError::Malformed(_))));
}
