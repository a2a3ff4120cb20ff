//! Commands whose output is sent while they run.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Reply, connect, get, post, request};
use crate::house::{House, eventually};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The events of an answer: their names and data.
fn events(reply: &Reply) -> Vec<(String, Value)> {
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")), "{reply:?}");
    let text = std::str::from_utf8(&reply.body).unwrap();
    text.strip_suffix("\n\n")
        .unwrap()
        .split("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data = data.strip_prefix("data: ").unwrap();
            (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
        })
        .collect()
}

fn stream(house: &House, id: &str, cmd: &str) -> Reply {
    post(house.address, "/exec/stream", &json!({ "sandbox_id": id, "cmd": cmd }))
}

#[test]
fn output_comes_as_events_and_the_end_is_one() {
    let house = House::new();
    let id = house.create();
    let events = events(&stream(&house, &id, "echo one\ntwo"));
    assert_eq!(events[0], ("stdout".into(), json!({ "data": "one\ntwo\n" })));
    let (name, end) = events.last().unwrap();
    assert_eq!((name.as_str(), &end["exit_code"], &end["timed_out"]), ("exit", &json!(0), &json!(false)));
    assert!(end["duration_ns"].as_u64().unwrap() > 0);
}

#[test]
fn a_command_that_cannot_start_is_an_error_with_its_status() {
    let house = House::new();
    let id = house.create();
    post(house.address, "/destroy", &json!({ "sandbox_id": id }));
    let reply = stream(&house, &id, "echo");
    assert_eq!((reply.status, reply.code().as_str()), (410, "sandbox_gone"));
}

#[test]
fn a_sandbox_that_ends_under_a_command_is_the_last_event() {
    let house = House::new();
    let (address, id) = (house.address, house.create());
    let body = json!({ "sandbox_id": id, "cmd": "sleep" }).to_string();
    let mut client = connect(address);
    client.write_all(&request("POST", "/exec/stream", &[JSON], body.as_bytes())).unwrap();
    eventually("it runs", || house.behaviour.commands.load(Ordering::SeqCst) == 1);
    // The answer has begun when its head is there.
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    post(address, "/destroy", &json!({ "sandbox_id": id }));
    let mut rest = head.to_vec();
    client.read_to_end(&mut rest).unwrap();
    let (reply, _) = Reply::parse(&rest).unwrap();
    let events = events(&reply);
    let (name, error) = events.last().unwrap();
    assert_eq!(name, "error", "{events:?}");
    assert!(error["code"].is_string() && error["remedy"].is_string(), "{error}");
}

#[test]
fn a_client_that_goes_away_ends_its_command() {
    let house = House::new();
    let id = house.create();
    let body = json!({ "sandbox_id": id, "cmd": "flood" }).to_string();
    let mut client = connect(house.address);
    client.write_all(&request("POST", "/exec/stream", &[JSON], body.as_bytes())).unwrap();
    eventually("it runs", || house.behaviour.pieces.load(Ordering::SeqCst) > 0);
    drop(client);
    eventually("it has ended", || house.behaviour.commands.load(Ordering::SeqCst) == 0);
    house.assert_works();
}

#[test]
fn a_silent_command_ends_with_its_client_too() {
    let house = House::new();
    let id = house.create();
    for path in ["/exec/stream", "/exec"] {
        let body = json!({ "sandbox_id": id, "cmd": "sleep" }).to_string();
        let mut client = connect(house.address);
        client.write_all(&request("POST", path, &[JSON], body.as_bytes())).unwrap();
        eventually("it runs", || house.behaviour.commands.load(Ordering::SeqCst) == 1);
        if path == "/exec/stream" {
            // Its head, which means that it is past the time in which a failure is a status.
            client.read_exact(&mut [0; 12]).unwrap();
        }
        drop(client);
        eventually("it has ended", || house.behaviour.commands.load(Ordering::SeqCst) == 0);
    }
    let text = String::from_utf8(get(house.address, "/metrics").body).unwrap();
    assert!(text.contains("virtmark_rejected_total{code=\"client_gone\"} 2\n"), "{text}");
    house.assert_works();
}

#[test]
fn a_quiet_stream_has_comments_and_its_events_are_whole() {
    let house = House::with(|_| {}, |http| http.comment_interval = Duration::from_millis(20));
    let id = house.create();
    let body = json!({ "sandbox_id": id, "cmd": "sleep", "timeout_ms": 500 });
    let reply = post(house.address, "/exec/stream", &body);
    let text = String::from_utf8(reply.body).unwrap();
    let (comments, events): (Vec<_>, Vec<_>) =
        text.split_terminator("\n\n").partition(|block| block.starts_with(':'));
    assert!((2..=25).contains(&comments.len()), "{text}");
    assert_eq!(events.len(), 1, "{text}");
    assert!(events[0].starts_with("event: exit\ndata: {\"exit_code\":124,"), "{text}");
}

#[test]
fn the_end_of_the_service_waits_for_no_client_that_takes_nothing() {
    let mut house = House::new();
    let id = house.create();
    let body = json!({ "sandbox_id": id, "cmd": "flood" }).to_string();
    let mut client = connect(house.address);
    client.write_all(&request("POST", "/exec/stream", &[JSON], body.as_bytes())).unwrap();
    let pieces = || house.behaviour.pieces.load(Ordering::SeqCst);
    eventually("it is held back", || {
        let before = pieces();
        sleep(Duration::from_millis(200));
        before > 0 && pieces() == before
    });
    let server = house.server.take().unwrap();
    let began = Instant::now();
    server.shutdown(Duration::ZERO);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(house.machines(), 0);
    drop(client);
}

#[test]
fn a_client_that_takes_nothing_holds_the_command_back_and_is_given_up() {
    let house = House::with(|_| {}, |http| http.stall_timeout = Duration::from_millis(1500));
    let id = house.create();
    let body = json!({ "sandbox_id": id, "cmd": "flood" }).to_string();
    let mut client = connect(house.address);
    client.write_all(&request("POST", "/exec/stream", &[JSON], body.as_bytes())).unwrap();
    let pieces = || house.behaviour.pieces.load(Ordering::SeqCst);
    let mut before = 0;
    let settled = Instant::now();
    loop {
        sleep(Duration::from_millis(200));
        let now = pieces();
        if now > 0 && now == before {
            break;
        }
        before = now;
        assert!(settled.elapsed() < Duration::from_secs(10), "it is never held back: {now} pieces");
    }
    // What is on the way: the sockets' buffers, a few events, and what the connection gathers before it writes.
    assert!(before * (64 << 10) < 32 << 20, "{before} pieces of 64 KiB are on the way");
    eventually("it is given up", || house.behaviour.commands.load(Ordering::SeqCst) == 0);
    drop(client);
}
