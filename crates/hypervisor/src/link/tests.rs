//! The link against an agent made of bytes; against the real one it is tested beside the native driver.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_protocol::{Clocks, Decoder, ErrorKind, Facts, NO_SESSION, Reply, Request, Status, encode};

use super::{AgentLink, ReadyEvents};
use crate::{Cancel, Command, Error, ExecStatus, GuestLink, Result};

const PATIENCE: Duration = Duration::from_secs(10);

/// The agent's end of the line.
struct Peer {
    line: UnixStream,
    decoder: Decoder,
    session: u64,
}

impl Peer {
    /// The next request's name and number.
    fn next(&mut self) -> (String, u32) {
        loop {
            if let Some(frame) = self.decoder.next_frame() {
                self.session = frame.header.session;
                let request = Request::decode(frame.payload).unwrap();
                let name = format!("{request:?}");
                return (name, frame.header.request);
            }
            assert_ne!(self.decoder.read_from(&mut self.line).unwrap(), 0);
        }
    }

    fn send(&mut self, session: u64, request: u32, reply: &Reply<'_>) {
        let mut frame = Vec::new();
        encode(session, request, reply, &mut frame).unwrap();
        self.line.write_all(&frame).unwrap();
    }

    fn welcome(&mut self) {
        let (name, request) = self.next();
        assert_eq!(name, "Hello");
        self.send(self.session, request, &hello("1.2.3"));
    }
}

fn hello(agent_version: &str) -> Reply<'_> {
    Reply::Hello(Facts { agent_version, kernel: "6.1", init_started_ns: 1, ready_ns: 2, is_init: true })
}

fn pair() -> (AgentLink, Peer) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let link = AgentLink::connect(ours, "m1", Arc::new(|| "Kernel panic".into())).unwrap();
    (link, Peer { line: theirs, decoder: Decoder::new(), session: NO_SESSION })
}

fn soon(link: &AgentLink) -> Result<ReadyEvents> {
    link.wait_ready(Instant::now() + PATIENCE)
}

#[test]
fn the_first_hello_is_there_before_the_agent() {
    let (link, mut peer) = pair();
    let before = Instant::now();
    peer.send(NO_SESSION, 0, &Reply::Ready);
    peer.welcome();
    let events = soon(&link).unwrap();
    assert!(before <= events.first_frame_at && events.first_frame_at <= events.connected_at);
    assert_eq!(soon(&link).unwrap(), events);
    assert_eq!(link.facts().unwrap().agent_version, "1.2.3");
}

#[test]
fn a_lost_hello_is_repeated_once_the_agent_was_heard() {
    let (link, mut peer) = pair();
    peer.next();
    peer.send(NO_SESSION, 0, &Reply::Ready);
    let answering = thread::spawn(move || {
        peer.welcome();
        peer
    });
    soon(&link).unwrap();
    answering.join().unwrap();
}

#[test]
fn a_restored_agent_is_greeted_until_it_answers() {
    let (link, mut peer) = pair();
    let answering = thread::spawn(move || {
        peer.next();
        peer.next();
        peer.welcome();
        peer
    });
    link.reconnect(Instant::now() + PATIENCE).unwrap();
    answering.join().unwrap();
}

#[test]
fn what_was_meant_for_another_host_is_ignored() {
    let (link, mut peer) = pair();
    // The rest of a frame, then whole frames of a session that was another host's.
    peer.line.write_all(&[0x9e, b'V', 1, 2, 3]).unwrap();
    peer.send(4711, 1, &hello("of the other"));
    peer.send(4711, 2, &Reply::Clock(Clocks { monotonic_ns: 0, boottime_ns: 0, realtime_ns: 0 }));
    peer.welcome();
    soon(&link).unwrap();
    assert_eq!(link.facts().unwrap().agent_version, "1.2.3");
    let asking = thread::spawn(move || link.clock());
    let (_, request) = peer.next();
    let time = |monotonic_ns| Reply::Clock(Clocks { monotonic_ns, boottime_ns: 0, realtime_ns: 0 });
    peer.send(4711, request, &time(1));
    peer.send(peer.session, request, &time(2));
    assert_eq!(asking.join().unwrap().unwrap().monotonic_ns, 2);
}

#[test]
fn every_waiting_request_learns_that_the_machine_is_gone() {
    let (link, mut peer) = pair();
    peer.welcome();
    let link = Arc::new(link);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let link = link.clone();
            thread::spawn(move || link.exec(&Command::shell("sleep 9")))
        })
        .collect();
    for _ in 0..3 {
        assert!(peer.next().0.starts_with("Exec"));
    }
    drop(peer);
    for request in waiting {
        let error = request.join().unwrap().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::AgentLost { .. }), "{text}");
        assert!(text.contains("`sleep 9`") && text.contains("Kernel panic"), "{text}");
    }
    assert!(matches!(link.clock().unwrap_err(), Error::AgentLost { .. }));
}

#[test]
fn a_platform_that_knows_better_stops_the_wait() {
    let (link, _peer) = pair();
    let panic = || Some(Error::GuestPanic { machine: "m1".into(), console: String::new() });
    let stopped = link.wait_ready_unless(Instant::now() + PATIENCE, &panic).unwrap_err();
    assert!(matches!(stopped, Error::GuestPanic { .. }), "{stopped}");
}

#[test]
fn silence_and_another_version_have_errors_of_their_own() {
    let (link, mut peer) = pair();
    let silent = link.wait_ready(Instant::now() + Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&silent, Error::GuestSilent { console, .. } if console == "Kernel panic"), "{silent}");
    peer.next();
    peer.send(peer.session, 1, &Reply::Error { kind: ErrorKind::Version, message: "speaks 7" });
    let refused = soon(&link).unwrap_err();
    assert!(matches!(&refused, Error::AgentRefused { reason, .. } if reason == "speaks 7"), "{refused}");
}

#[test]
fn an_answer_that_does_not_belong_ends_the_request() {
    let (link, mut peer) = pair();
    peer.welcome();
    soon(&link).unwrap();
    let asking = thread::spawn(move || (link.clock(), link));
    let (_, request) = peer.next();
    peer.send(peer.session, request, &Reply::PutDone);
    let (answer, _link) = asking.join().unwrap();
    let error = answer.unwrap_err();
    assert!(matches!(&error, Error::AgentLost { .. }), "{error}");
}

#[test]
fn a_damaged_copy_is_an_error() {
    let (link, mut peer) = pair();
    peer.welcome();
    let copying = thread::spawn(move || link.get("/f", &mut Vec::new()));
    let (_, request) = peer.next();
    peer.send(peer.session, request, &Reply::GetStart { mode: 0o600, size_bytes: 3 });
    peer.send(peer.session, request, &Reply::GetData(b"abc"));
    peer.send(peer.session, request, &Reply::GetEnd { crc32c: 1 });
    let error = copying.join().unwrap().unwrap_err();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("CRC32C"), "{error}");
}

#[test]
fn closing_ends_what_waits() {
    let (link, mut peer) = pair();
    peer.welcome();
    let link = Arc::new(link);
    let waiting = thread::spawn({
        let link = link.clone();
        move || link.clock()
    });
    peer.next();
    link.close();
    assert!(matches!(waiting.join().unwrap().unwrap_err(), Error::AgentLost { .. }));
}

#[test]
fn a_command_that_is_given_up_ends_at_once_and_is_closed() {
    let (link, mut peer) = pair();
    peer.welcome();
    let cancel = Cancel::new();
    let command = Command { cancel: Some(cancel.clone()), ..Command::shell("sleep 9") };
    let running = thread::spawn({
        let command = command.clone();
        move || (link.exec(&command), link)
    });
    let (name, request) = peer.next();
    assert!(name.starts_with("Exec"), "{name}");
    // The guest says nothing more, and is not asked.
    let asked = Instant::now();
    cancel.cancel();
    let (outcome, link) = running.join().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let error = outcome.unwrap_err();
    assert!(matches!(&error, Error::Cancelled { .. }), "{error}");
    assert_eq!(error.to_string(), "the command `sleep 9` in m1 was given up");
    assert_eq!(peer.next(), ("Close".into(), request));

    let again = link.exec(&command).unwrap_err();
    assert!(matches!(again, Error::Cancelled { .. }), "{again}");
}

#[test]
fn a_command_that_has_ended_cannot_be_given_up_any_more() {
    let (link, mut peer) = pair();
    peer.welcome();
    let cancel = Cancel::new();
    let mut handle = link.spawn(&Command { cancel: Some(cancel.clone()), ..Command::shell("true") }).unwrap();
    let (_, request) = peer.next();
    let exited =
        Reply::Exited { status: Status::Exited(3), resource_use: virtmark_protocol::ResourceUse::default() };
    peer.send(peer.session, request, &exited);
    assert_eq!(handle.wait().unwrap().0, ExecStatus::Exited(3));
    cancel.cancel();
    assert_eq!(handle.wait().unwrap().0, ExecStatus::Exited(3));
}

#[test]
fn an_agent_that_sends_more_than_was_asked_for_is_cut_off() {
    let flood = |reply: Reply<'static>| {
        let (link, mut peer) = pair();
        peer.welcome();
        let handle = link.spawn(&Command::shell("true")).unwrap();
        let (_, request) = peer.next();
        let mut frame = Vec::new();
        encode(peer.session, request, &reply, &mut frame).unwrap();
        let mut sent = 0;
        // Nobody takes it; the line breaks.
        while sent < 4 << 20 && peer.line.write_all(&frame).is_ok() {
            sent += frame.len();
        }
        assert!(sent < 4 << 20, "{sent} bytes were taken");
        drop(handle);
        link.clock().unwrap_err().to_string()
    };
    for reply in [Reply::Stdout(&[7; 30_000]), Reply::Stdout(&[]), Reply::OutputEnd] {
        let error = flood(reply);
        assert!(error.contains("it sent more than it was asked for"), "{error}");
    }
}

#[test]
fn what_is_taken_can_be_sent_again_without_end() {
    let (link, mut peer) = pair();
    peer.welcome();
    let running = thread::spawn(move || {
        (link.exec(&Command { output_limit_bytes: 0, ..Command::shell("true") }), link)
    });
    let (_, request) = peer.next();
    let mut granted_bytes = 1 << 20;
    for _ in 0..400 {
        if granted_bytes < 30_000 {
            let (credit, _) = peer.next();
            let bytes = credit.trim_start_matches("Credit(").trim_end_matches(')');
            granted_bytes += bytes.parse::<usize>().unwrap();
        }
        peer.send(peer.session, request, &Reply::Stdout(&[7; 30_000]));
        granted_bytes -= 30_000;
    }
    peer.send(peer.session, request, &Reply::OutputEnd);
    let resource_use = virtmark_protocol::ResourceUse::default();
    peer.send(peer.session, request, &Reply::Exited { status: Status::Exited(0), resource_use });
    assert_eq!(running.join().unwrap().0.unwrap().stdout_bytes, 400 * 30_000);
}

#[test]
fn a_message_that_no_frame_can_hold_is_refused_and_harms_nothing() {
    let (link, mut peer) = pair();
    peer.welcome();
    let error = link.exec(&Command::shell("x".repeat(2_000_000))).unwrap_err();
    assert!(matches!(&error, Error::AgentRefused { .. }), "{error}");
    let asking = thread::spawn(move || link.clock());
    let request = loop {
        match peer.next() {
            (name, request) if name == "Clock" => break request,
            (name, _) => assert_eq!(name, "Close"),
        }
    };
    peer.send(
        peer.session,
        request,
        &Reply::Clock(Clocks { monotonic_ns: 1, boottime_ns: 1, realtime_ns: 1 }),
    );
    asking.join().unwrap().unwrap();
}
