//! Files in and out.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;

use virtmark_hypervisor::{Error, GuestLink};
use virtmark_protocol::{Decoder, ErrorKind, Reply, Request, encode};

use crate::support::Agent;

#[test]
fn files_of_any_size_go_in_and_come_out_with_their_mode() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let path = agent.path("file");
    for (size, mode) in [(0, 0o600), (1, 0o755), (32 * 1024 - 64, 0o4711), (5_000_000, 0o644)] {
        let content: Vec<u8> =
            (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        link.put(&mut &content[..], content.len() as u64, path.to_str().unwrap(), mode).unwrap();
        assert!(fs::read(&path).unwrap() == content);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        let mut back = Vec::new();
        assert_eq!(link.get(path.to_str().unwrap(), &mut back).unwrap(), mode);
        assert!(back == content);
    }
    // Nothing but the file, and the agent's own program.
    assert_eq!(fs::read_dir(agent.directory.path()).unwrap().count(), 2);
}

#[test]
fn files_that_do_not_know_their_size_come_out_whole() {
    let agent = Agent::start();
    let mut content = Vec::new();
    agent.ready_link().get("/proc/cpuinfo", &mut content).unwrap();
    assert!(content.len() > 100);
}

#[test]
fn what_cannot_be_written_or_read_is_refused_with_the_reason() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let mut nowhere = Vec::new();
    let missing = link.get("/no/such", &mut nowhere).unwrap_err();
    assert!(
        matches!(&missing, Error::AgentRefused { reason, .. } if reason.contains("No such file")),
        "{missing}"
    );
    let directory = link.get("/tmp", &mut nowhere).unwrap_err();
    assert!(
        matches!(&directory, Error::AgentRefused { reason, .. } if reason.contains("regular")),
        "{directory}"
    );
    // Large enough that the refusal comes while content is still being sent.
    let refused = link.put(&mut io::repeat(1), 50_000_000, "/no/such/file", 0o644).unwrap_err();
    assert!(matches!(refused, Error::AgentRefused { .. }), "{refused}");
    let relative = link.put(&mut io::empty(), 0, "relative", 0o644).unwrap_err();
    assert!(matches!(relative, Error::AgentRefused { .. }), "{relative}");
    link.clock().unwrap();
}

#[test]
fn a_source_that_ends_early_leaves_nothing_behind() {
    let agent = Agent::start();
    let link = agent.ready_link();
    let path = agent.path("file");
    let error =
        link.put(&mut io::repeat(1).take(100_000), 100_001, path.to_str().unwrap(), 0o644).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    link.clock().unwrap();
    assert_eq!(fs::read_dir(agent.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_wrong_checksum_leaves_the_old_file() {
    let mut agent = Agent::start();
    let path = agent.path("file");
    fs::write(&path, "old").unwrap();
    let mut line = Vec::new();
    let put = Request::Put { path: path.to_str().unwrap(), mode: 0o644, size_bytes: 3 };
    for request in [Request::Hello, put, Request::PutData(b"new"), Request::PutEnd { crc32c: 1 }] {
        encode(9, 1, &request, &mut line).unwrap();
    }
    agent.line.write_all(&line).unwrap();
    let mut decoder = Decoder::new();
    let kind = loop {
        if let Some(frame) = decoder.next_frame() {
            if let Reply::Error { kind, .. } = Reply::decode(frame.payload).unwrap() {
                break kind;
            }
            continue;
        }
        decoder.read_from(&mut agent.line).unwrap();
    };
    assert_eq!(kind, ErrorKind::Checksum);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(agent.directory.path()).unwrap().count(), 2);
}
