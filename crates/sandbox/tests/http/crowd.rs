//! Many clients, silent clients, slow clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{ask, connect, get, post};
use crate::house::{House, eventually};

/// Whether the service has closed this connection without a word.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_))
}

#[test]
fn two_hundred_silent_clients_keep_nobody_from_being_served() {
    let time = Duration::from_secs(4);
    let house = House::with(|_| {}, |http| http.head_timeout = time);
    let mut silent: Vec<_> = (0..200).map(|_| connect(house.address)).collect();
    let asked = Instant::now();
    house.assert_works();
    assert!(asked.elapsed() < time, "{:?}", asked.elapsed());
    for stream in &mut silent {
        assert!(is_closed(stream), "a silent client is dropped after its time");
    }
    house.assert_works();
}

#[test]
fn a_client_that_starts_a_head_and_never_ends_it_is_dropped() {
    let house = House::with(|_| {}, |http| http.head_timeout = Duration::from_millis(300));
    let mut stream = connect(house.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn whoever_finds_every_connection_taken_is_told_at_once_and_served_later() {
    let house =
        House::with(|_| {}, |http| (http.connections, http.head_timeout) = (4, Duration::from_millis(800)));
    let silent: Vec<_> = (0..4).map(|_| connect(house.address)).collect();
    eventually("the service has taken all four", || {
        let reply = get(house.address, "/healthz");
        reply.status == 503 && {
            assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("overloaded", Some("1")));
            true
        }
    });
    eventually("the silent ones are dropped", || get(house.address, "/healthz").status == 200);
    drop(silent);
}

#[test]
fn a_body_that_drips_is_given_up() {
    let house = House::with(|_| {}, |http| http.body_timeout = Duration::from_millis(300));
    let mut stream = connect(house.address);
    let head = b"POST /create HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Content-Length: 100\r\n\r\n";
    stream.write_all(head).unwrap();
    let mut drip = stream.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        for _ in 0..100 {
            if drip.write_all(b" ").is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("request_timeout"), "{text}");
    drop(stream);
    dripping.join().unwrap();
}

#[test]
fn a_storm_over_the_limit_is_refused_at_once() {
    let house = House::with(|limits| limits.max_sandboxes = 5, |_| {});
    let address = house.address;
    let storm: Vec<_> =
        (0..40).map(|_| thread::spawn(move || post(address, "/create", &json!({})))).collect();
    let mut made = 0;
    for reply in storm.into_iter().map(|client| client.join().unwrap()) {
        if reply.status == 200 {
            made += 1;
            continue;
        }
        assert_eq!((reply.status, reply.code().as_str()), (429, "limit_reached"));
        assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    assert_eq!((made, house.machines()), (5, 5));
}

#[test]
fn slow_creations_hold_up_nothing_and_more_than_fit_are_refused() {
    let house = House::with(|_| {}, |http| http.requests = 3);
    let address = house.address;
    house.behaviour.held.store(true, Ordering::SeqCst);
    let slow: Vec<_> = (0..3).map(|_| thread::spawn(move || post(address, "/create", &json!({})))).collect();
    eventually("three are being made", || house.machines() == 3);
    let asked = Instant::now();
    assert_eq!(get(address, "/healthz").status, 200);
    assert_eq!(get(address, "/metrics").status, 200);
    assert_eq!(get(address, "/sandboxes").status, 200);
    let reply = post(address, "/create", &json!({}));
    assert_eq!(
        (reply.status, reply.code().as_str(), reply.header("retry-after")),
        (503, "overloaded", Some("1"))
    );
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    house.behaviour.held.store(false, Ordering::SeqCst);
    for client in slow {
        assert_eq!(client.join().unwrap().status, 200);
    }
}

#[test]
fn the_end_waits_for_what_runs_and_cuts_what_does_not_end() {
    let mut house = House::new();
    let (address, id) = (house.address, house.create());
    let short = json!({ "sandbox_id": id, "cmd": "sleep", "timeout_ms": 300 });
    let long = json!({ "sandbox_id": id, "cmd": "sleep" });
    let [short, long] = [short, long].map(|body| {
        let json = ("Content-Type", "application/json");
        thread::spawn(move || ask(address, "POST", "/exec", &[json], body.to_string().as_bytes()))
    });
    eventually("both run", || house.behaviour.commands.load(Ordering::SeqCst) == 2);
    let begun = Instant::now();
    house.server.take().unwrap().shutdown(Duration::from_secs(1));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(short.join().unwrap().json()["timed_out"], true);
    let cut = long.join().unwrap();
    assert!(cut.status >= 400 || cut.json()["exit_code"] != 0, "{cut:?}");
    assert_eq!(house.machines(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn the_end_does_not_wait_for_clients_that_want_nothing() {
    let mut house = House::new();
    let _silent = connect(house.address);
    let mut idle = connect(house.address);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut status = [0; 12];
    idle.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let begun = Instant::now();
    house.server.take().unwrap().shutdown(Duration::from_secs(20));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
