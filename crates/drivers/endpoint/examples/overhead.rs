//! What this client costs: wall clock and CPU time of an exec against a server on loopback that answers at once, the server's
//! own time included. `cargo run --release -p virtmark-driver-endpoint --example overhead`
#![allow(clippy::unwrap_used, reason = "an example that cannot go on fails")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use common::{endpoint, json};
use serde_json::json;
use virtmark_hypervisor::{Command, Hypervisor};

fn main() {
    let (server, endpoint) = endpoint(|request| match request.line.as_str() {
        "POST /create" => json(200, json!({ "sandbox_id": "sb-1", "duration_ns": 0 })),
        "POST /exec" => {
            json(200, json!({ "stdout": "b2sK", "stderr": "", "exit_code": 0, "duration_ns": 0 }))
        }
        _ => json(200, json!({})),
    });
    let (mut machine, _) = endpoint.create(&common::spec("m-1")).unwrap();
    machine.start().unwrap();
    let guest = machine.guest().unwrap();
    let command = Command::shell("echo ok");
    println!("exec                  {}", figures(2000, || drop(guest.exec(&command).unwrap())));
    println!("bare socket           {}", bare(&server.url));
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| (0..20).for_each(|_| drop(guest.exec(&command).unwrap())));
        }
    });
    let each = started.elapsed() / 2000;
    println!("100 threads, 20 each  {each:.1?} of wall clock for each of 2000 execs");
}

/// The same exchange without any client: what the server, the kernel and two thread switches cost.
fn bare(url: &str) -> String {
    let mut socket = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    socket.set_nodelay(true).unwrap();
    let body = r#"{"cmd":"echo ok","encoding":"base64","sandbox_id":"sb-1"}"#;
    let request = format!("POST /exec HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut answer = [0; 4096];
    figures(2000, || {
        socket.write_all(request.as_bytes()).unwrap();
        assert!(socket.read(&mut answer).unwrap() > 0);
    })
}

fn figures(times: usize, mut call: impl FnMut()) -> String {
    let mut ns: Vec<u128> = (0..times)
        .map(|_| {
            let started = Instant::now();
            call();
            started.elapsed().as_nanos()
        })
        .collect();
    ns.sort_unstable();
    let us = |ns: u128| ns as f64 / 1e3;
    format!("median {:.1} µs, p99 {:.1} µs", us(ns[times / 2]), us(ns[times * 99 / 100]))
}
