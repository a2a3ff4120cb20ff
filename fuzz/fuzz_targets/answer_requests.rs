//! Any messages as what an agent answers to a command: the host gets an end of it, and never more than it asked for.

#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_hypervisor::link::AgentLink;
use virtmark_hypervisor::{Command, GuestLink};
use virtmark_protocol::frame::MAGIC;
use virtmark_protocol::{Decoder, Facts, Header, Reply, VERSION, checksum_append, encode};

const PATIENCE: Duration = Duration::from_secs(20);

libfuzzer_sys::fuzz_target!(init: keep_from_broken_pipes(), |payloads: Vec<Vec<u8>>| {
    let (ours, theirs) = UnixStream::pair().expect("two descriptors are free");
    let agent = thread::spawn(move || play_agent(theirs, &payloads));
    let link = AgentLink::connect(ours, "m", Arc::new(String::new)).expect("the agent is there");
    if link.wait_ready(Instant::now() + PATIENCE).is_ok() {
        let started = Instant::now();
        let mut command = Command::shell("true");
        command.stdin = vec![b'i'; 100 << 10];
        command.output_limit_bytes = 100;
        if let Ok(output) = link.exec(&command) {
            assert!(output.stdout.len() + output.stderr.len() <= 200);
        }
        assert!(started.elapsed() < PATIENCE, "it waited for an agent that was gone");
    }
    drop(link);
    agent.join().expect("the agent does not panic");
});

/// A fuzzer begins in C: there, writing to who is gone ends the process.
fn keep_from_broken_pipes() {
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default()).expect("it can be caught");
}

/// Says hello, waits for the command, answers it with these messages and is gone.
fn play_agent(mut line: UnixStream, payloads: &[Vec<u8>]) {
    let mut decoder = Decoder::new();
    let Some(hello) = next_request(&mut decoder, &mut line) else { return };
    let facts = Facts { agent_version: "1", kernel: "6.1", init_started_ns: 1, ready_ns: 2, is_init: true };
    let mut answer = Vec::new();
    encode(hello.session, hello.request, &Reply::Hello(facts), &mut answer).expect("it is short");
    // The host may be gone already, here and below.
    let _ = line.write_all(&answer);
    let Some(exec) = next_request(&mut decoder, &mut line) else { return };
    for payload in payloads {
        let _ = line.write_all(&frame(exec, payload));
    }
}

fn next_request(decoder: &mut Decoder, line: &mut UnixStream) -> Option<Header> {
    loop {
        if let Some(frame) = decoder.next_frame() {
            return Some(frame.header);
        }
        if decoder.read_from(line).ok()? == 0 {
            return None;
        }
    }
}

/// An intact frame, whatever its payload is.
fn frame(of: Header, payload: &[u8]) -> Vec<u8> {
    let mut frame = MAGIC.to_vec();
    frame.extend(u32::from(VERSION).to_le_bytes());
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(of.request.to_le_bytes());
    frame.extend(of.session.to_le_bytes());
    frame.extend(checksum_append(0, payload).to_le_bytes());
    let header_checksum = checksum_append(0, &frame);
    frame.extend(header_checksum.to_le_bytes());
    frame.extend(payload);
    frame
}
