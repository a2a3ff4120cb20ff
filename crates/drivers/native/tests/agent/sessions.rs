//! Hosts that come, go and are replaced, and lines that are not clean.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Command, Error, GuestLink};
use virtmark_protocol::{Decoder, NO_SESSION, Reply, Request, encode};

use crate::support::{Agent, PATIENCE, eventually, is_alive};

#[test]
fn the_agent_says_what_it_is_and_what_time_it_is() {
    let agent = Agent::start();
    let before = Instant::now();
    let link = agent.link();
    let events = link.wait_ready(Instant::now() + PATIENCE).unwrap();
    assert!(before <= events.first_frame_at && events.first_frame_at <= events.connected_at);
    let facts = link.facts().unwrap();
    assert_eq!(facts.agent_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(facts.protocol_version, virtmark_protocol::VERSION);
    assert_eq!(facts.kernel, rustix::system::uname().release().to_str().unwrap());
    assert!(0 < facts.init_started_ns && facts.init_started_ns <= facts.ready_ns);
    assert!(!facts.is_init);
    let (first, second) = (link.clock().unwrap(), link.clock().unwrap());
    assert!(first.monotonic_ns < second.monotonic_ns && first.boottime_ns < second.boottime_ns);
    assert!(facts.ready_ns < first.boottime_ns);
    // After 2020.
    assert!(first.realtime_ns > 1_577_836_800_000_000_000);
}

#[test]
fn the_end_of_the_line_ends_the_agent_and_all_it_started() {
    let mut agent = Agent::start();
    let link = agent.ready_link();
    let mut running = link.spawn(&Command::shell("echo $$; sleep 100")).unwrap();
    let running_pid = String::from_utf8(running.next_output().unwrap().unwrap().data).unwrap();
    let left =
        link.exec(&Command::shell("setsid sh -c 'sleep 100 & sleep 100' >/dev/null 2>&1 & echo $!")).unwrap();
    let left_pid = String::from_utf8(left.stdout).unwrap();
    eventually("it runs", || is_alive(&left_pid));
    drop(link);
    eventually("the agent has ended", || agent.process.try_wait().unwrap().is_some());
    assert!(!is_alive(&running_pid) && !is_alive(&left_pid));
    let lost = running.wait().unwrap_err();
    assert!(matches!(lost, Error::AgentLost { .. }), "{lost}");
}

#[test]
fn a_signal_ends_the_agent_and_all_it_started() {
    let mut agent = Agent::start();
    let link = agent.ready_link();
    let mut running = link.spawn(&Command::shell("echo $$; sleep 100")).unwrap();
    let pid = String::from_utf8(running.next_output().unwrap().unwrap().data).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&agent.process),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    eventually("the agent has ended", || agent.process.try_wait().unwrap().is_some());
    assert!(!is_alive(&pid));
    assert!(
        matches!(running.wait().unwrap_err(), Error::AgentLost { console, .. } if console == "last words")
    );
}

#[test]
fn a_request_to_shut_down_ends_a_service() {
    let mut agent = Agent::start();
    let link = agent.ready_link();
    link.shutdown().unwrap();
    eventually("the agent has ended", || agent.process.try_wait().unwrap().is_some());
    assert!(link.clock().is_err());
}

#[test]
fn a_new_session_kills_what_the_old_one_asked_for() {
    let agent = Agent::start();
    let old = agent.ready_link();
    let mut running = old.spawn(&Command::shell("echo $$; exec cat /dev/zero")).unwrap();
    let pid = String::from_utf8(running.next_output().unwrap().unwrap().data[..].to_vec());
    let pid = pid.unwrap().lines().next().unwrap().to_owned();
    let background = old.exec(&Command::shell("sleep 100 >/dev/null 2>&1 & echo $!")).unwrap();
    let background = String::from_utf8(background.stdout).unwrap();

    // A new host process at the same line, while the old one's thread still reads from it: what each gets is a
    // matter of chance, so the old one stops first. Its end of the socket stays open in `agent`.
    let mut line = agent.line.try_clone().unwrap();
    std::mem::forget(running);
    std::mem::forget(old);
    let mut hello = Vec::new();
    encode(77, 1, &Request::Hello, &mut hello).unwrap();
    line.write_all(&hello).unwrap();
    eventually("the old command is dead", || !is_alive(&pid));
    assert!(is_alive(&background), "a command that had ended leaves its background processes alone");
}

#[test]
fn a_hello_may_be_repeated() {
    let agent = Agent::start();
    let mut line = agent.line.try_clone().unwrap();
    let mut frames = Vec::new();
    for request in 1..=3 {
        encode(5, request, &Request::Hello, &mut frames).unwrap();
    }
    let exec = virtmark_protocol::Exec {
        program: virtmark_protocol::Program::Shell("sleep 0.2; echo still here"),
        env: vec![],
        cwd: None,
        stdin: b"",
        stdin_follows: false,
        timeout_ns: None,
        window_bytes: 1000,
    };
    encode(5, 4, &Request::Exec(exec), &mut frames).unwrap();
    encode(5, 5, &Request::Hello, &mut frames).unwrap();
    line.write_all(&frames).unwrap();
    let (mut hellos, mut output) = (0, Vec::new());
    read_replies(&mut line, |session, reply| {
        assert!(session == 5 || session == NO_SESSION);
        match reply {
            Reply::Hello(_) => hellos += 1,
            Reply::Stdout(data) => output.extend_from_slice(data),
            Reply::OutputEnd => return true,
            _ => {}
        }
        false
    });
    assert_eq!((hellos, &output[..]), (4, &b"still here\n"[..]));
}

#[test]
fn garbage_before_and_between_frames_is_skipped() {
    let agent = Agent::start();
    let mut line = agent.line.try_clone().unwrap();
    let mut frames = b"\0\xff[    0.000000] Linux version\r\n\x9eVm".to_vec();
    encode(5, 1, &Request::Hello, &mut frames).unwrap();
    frames.extend_from_slice(b"login: \x9eVm\xf1\x01\x00");
    encode(5, 2, &Request::Clock, &mut frames).unwrap();
    line.write_all(&frames).unwrap();
    read_replies(&mut line, |_, reply| matches!(reply, Reply::Clock(_)));
}

/// What a snapshot in the middle of a large write leaves in the agent: the head of a frame whose rest never comes.
#[test]
fn an_interrupted_frame_does_not_hold_up_the_next_host() {
    let agent = Agent::start();
    let mut line = agent.line.try_clone().unwrap();
    let mut frames = Vec::new();
    encode(5, 1, &Request::Hello, &mut frames).unwrap();
    let mut cut = Vec::new();
    encode(5, 2, &Request::PutData(&[1; 30_000]), &mut cut).unwrap();
    frames.extend_from_slice(&cut[..10_000]);
    line.write_all(&frames).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut line = agent.line.try_clone().unwrap();
    read_replies(&mut line, |_, reply| matches!(reply, Reply::Hello(_)));
    let link = agent.link();
    link.reconnect(Instant::now() + PATIENCE).unwrap();
    assert!(link.exec(&Command::argv(["true"])).unwrap().success());
}

#[test]
fn requests_of_other_sessions_are_not_answered() {
    let agent = Agent::start();
    let mut line = agent.line.try_clone().unwrap();
    let mut frames = Vec::new();
    encode(5, 1, &Request::Clock, &mut frames).unwrap();
    encode(NO_SESSION, 2, &Request::Hello, &mut frames).unwrap();
    encode(6, 3, &Request::Hello, &mut frames).unwrap();
    encode(5, 4, &Request::Clock, &mut frames).unwrap();
    encode(6, 5, &Request::Clock, &mut frames).unwrap();
    line.write_all(&frames).unwrap();
    let mut seen = Vec::new();
    read_replies(&mut line, |session, reply| {
        seen.push(session);
        matches!(reply, Reply::Clock(_))
    });
    assert_eq!(seen, [NO_SESSION, 6, 6]);
}

#[test]
fn another_version_is_told_which_one_this_is() {
    let agent = Agent::start();
    let mut line = agent.line.try_clone().unwrap();
    let mut frame = Vec::new();
    encode(5, 1, &Request::Hello, &mut frame).unwrap();
    frame[4] = 99;
    let checksum = virtmark_protocol::checksum_append(0, &frame[..28]);
    frame[28..32].copy_from_slice(&checksum.to_le_bytes());
    line.write_all(&frame).unwrap();
    read_replies(&mut line, |_, reply| match reply {
        Reply::Error { message, .. } => {
            assert!(message.contains("version 99"), "{message}");
            true
        }
        _ => false,
    });
}

#[test]
fn the_end_is_told_from_silence() {
    let agent = Agent::start();
    agent.line.shutdown(Shutdown::Both).unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let console = std::sync::Arc::new(String::new);
    let link = virtmark_hypervisor::link::AgentLink::connect(ours, "silent", console).unwrap();
    let silent = link.wait_ready(Instant::now() + Duration::from_millis(50)).unwrap_err();
    assert!(matches!(silent, Error::GuestSilent { .. }), "{silent}");
    drop(theirs);
    let lost = link.wait_ready(Instant::now() + PATIENCE).unwrap_err();
    assert!(matches!(lost, Error::AgentLost { .. }), "{lost}");
}

/// Reads replies until `done` says so.
fn read_replies(line: &mut impl Read, mut done: impl FnMut(u64, &Reply<'_>) -> bool) {
    let mut decoder = Decoder::new();
    loop {
        while let Some(frame) = decoder.next_frame() {
            if done(frame.header.session, &Reply::decode(frame.payload).unwrap()) {
                return;
            }
        }
        assert_ne!(decoder.read_from(line).unwrap(), 0, "the agent has ended");
    }
}
