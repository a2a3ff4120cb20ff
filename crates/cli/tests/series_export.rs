//! Stores for others: pushed and served through the program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use common::{World, kill, wait_for};
use predicates::prelude::*;
use predicates::str::contains;
use virtmark_recorder::default_options;
use virtmark_timeseries::{Kind, SeriesKey, Writer};

const SECOND: u64 = 1_000_000_000;

/// A store with five points of one series.
fn store(world: &World) -> String {
    let path = world.path("store");
    let mut writer = Writer::create(&path, &default_options(1).unwrap()).unwrap();
    let key = SeriesKey::new("vmm_resident_bytes").unwrap().with("machine", "m").unwrap();
    let series = writer.register(&key, Kind::Gauge).unwrap();
    let mut recorder = writer.recorder().unwrap();
    for tick in 0..5 {
        recorder.record_batch((1_000_000 + tick) * SECOND, &[(series, 42.0 + tick as f64)]).unwrap();
        writer.consolidate();
    }
    drop(recorder);
    writer.close().unwrap();
    path.to_str().unwrap().to_owned()
}

/// Answers every request with this status; gives the address.
fn receiver(status: &'static str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if head.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let _ = head.read_exact(&mut vec![0; length]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    format!("http://{address}/api/v1/write")
}

#[test]
fn a_push_goes_on_where_the_last_one_ended() {
    let world = World::new();
    let (store, url) = (store(&world), receiver("204 No Content"));
    let push = ["series", "push", &store, "--url", &url];
    world.virtmark(&push).assert().success().stderr(contains("pushed 5 samples"));
    // The newest point could have grown, and is sent again: a receiver takes the same point once.
    world.virtmark(&push).assert().success().stderr(contains("pushed 1 sample "));
}

#[test]
fn a_receiver_that_refuses_or_is_not_there_is_told() {
    let world = World::new();
    let (store, url) = (store(&world), receiver("400 Bad Request"));
    world.virtmark(&["series", "push", &store, "--url", &url]).assert().code(29).stderr(contains("400"));
    let nobody = "http://127.0.0.1:9/api/v1/write";
    world
        .virtmark(&["series", "push", &store, "--url", nobody, "--give-up-after", "1s"])
        .assert()
        .code(29)
        .stderr(contains(nobody));
    world.virtmark(&["series", "push", &store, "--url", "https://x/"]).assert().code(2);
    world.virtmark(&["series", "push", "/nonexistent", "--url", &url]).assert().code(28);
}

#[test]
fn a_store_is_served_until_ctrl_c() {
    let world = World::new();
    let store = store(&world);
    let mut server = Command::new(env!("CARGO_BIN_EXE_virtmark"))
        .args(["series", "serve", &store, "--listen", "127.0.0.1:0"])
        .envs(world.environment())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("vmm_resident_bytes{machine=\"m\"} 46"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    kill("INT", server.id());
    wait_for(|| server.try_wait().unwrap().is_some());
    assert_eq!(server.wait().unwrap().code(), Some(130));
}

#[test]
fn an_address_that_is_taken_is_told() {
    let world = World::new();
    let store = store(&world);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .virtmark(&["series", "serve", &store, "--listen", &address])
        .assert()
        .failure()
        .stderr(contains("cannot listen on").and(contains("--listen")));
}
