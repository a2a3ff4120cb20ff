//! Clients that go away in the middle.

use std::io::Write;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::client::{connect, get, post, request};
use crate::house::{House, eventually};

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn a_sandbox_whose_client_went_away_is_destroyed() {
    let house = House::new();
    house.behaviour.held.store(true, Ordering::SeqCst);
    let mut stream = connect(house.address);
    stream.write_all(&request("POST", "/create", &[JSON], b"{}")).unwrap();
    eventually("it is being made", || house.machines() == 1);
    drop(stream);
    // The service must have seen that before the sandbox is ready, or the answer is written to nobody.
    eventually("the connection is gone", || {
        let text = String::from_utf8(get(house.address, "/metrics").body).unwrap();
        text.contains("virtmark_http_connections 1\n")
    });
    house.behaviour.held.store(false, Ordering::SeqCst);
    eventually("nothing is left", || house.machines() == 0);
    assert_eq!(house.behaviour.made.load(Ordering::SeqCst), 1);
    assert_eq!(get(house.address, "/sandboxes").json()["sandboxes"], json!([]));
}

#[test]
fn a_restored_sandbox_whose_client_stays_is_kept() {
    let house = House::new();
    let id = house.create();
    let taken = post(house.address, "/snapshot/create", &json!({ "sandbox_id": id, "name": "one" })).json();
    let restored = post(house.address, "/snapshot/restore", &json!({ "snapshot_id": taken["snapshot_id"] }));
    assert_eq!(restored.status, 200);
    assert_eq!(house.machines(), 2);
    let id = restored.json()["sandbox_id"].as_str().unwrap().to_owned();
    assert_eq!(house.exec(&id, "echo here")["stdout"], "here\n");
}

#[test]
fn half_a_body_makes_nothing() {
    let house = House::new();
    let mut stream = connect(house.address);
    let head =
        b"POST /create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{}";
    stream.write_all(head).unwrap();
    drop(stream);
    house.assert_works();
    assert_eq!(house.behaviour.made.load(Ordering::SeqCst), 1);
}
