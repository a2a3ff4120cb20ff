//! Files in and out of a guest.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use crate::client::{Reply, ask, connect, exchange, get, request};
use crate::house::House;

const BYTES: (&str, &str) = ("Content-Type", "application/octet-stream");

fn target(id: &str, query: &str) -> String {
    format!("/sandboxes/{id}/files?{query}")
}

#[test]
fn what_is_put_is_got_again() {
    let house = House::new();
    let id = house.create();
    for size in [0, 1, 70_000, 5 << 20] {
        let content: Vec<u8> = (0..size).map(|index: usize| (index * 31 % 251) as u8).collect();
        let put = ask(house.address, "PUT", &target(&id, "path=/tmp/a%20b&mode=0600"), &[BYTES], &content);
        assert_eq!((put.status, put.body.len()), (204, 0), "{put:?}");
        let got = get(house.address, &target(&id, "path=/tmp/a%20b"));
        assert_eq!((got.status, got.header("content-type")), (200, Some("application/octet-stream")));
        assert!(got.body == content, "{size} bytes come back as {}", got.body.len());
    }
}

#[test]
fn wrong_requests_for_files_are_told_so() {
    let house = House::with(|limits| limits.max_file_bytes = 1000, |_| {});
    let id = house.create();
    let put = |query: &str, content: &[u8]| {
        let reply = ask(house.address, "PUT", &target(&id, query), &[BYTES], content);
        (reply.status, reply.code())
    };
    for query in
        ["", "path=tmp", "path=", "path=%00", "path=/a&mode=999", "path=/a&mode=04755", "path=/a&path=/b"]
    {
        assert_eq!(put(query, b"x"), (400, "invalid_request".into()), "{query}");
    }
    assert_eq!(put("path=/a", &[0; 1001]), (413, "body_too_large".into()));
    let missing = get(house.address, &target(&id, "path=/missing"));
    assert_eq!((missing.status, missing.code().as_str()), (404, "file_unknown"));
    let chunked = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        target(&id, "path=/a")
    );
    let answer = exchange(house.address, chunked.as_bytes());
    let (reply, _) = Reply::parse(&answer).unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (411, "length_required"));
}

#[test]
fn half_a_file_leaves_none() {
    let house = House::with(|_| {}, |http| http.stall_timeout = Duration::from_millis(300));
    let id = house.create();
    let whole = request("PUT", &target(&id, "path=/half"), &[BYTES], &[7; 100_000]);
    let mut gone = connect(house.address);
    gone.write_all(&whole[..whole.len() / 2]).unwrap();
    drop(gone);
    let mut stalled = connect(house.address);
    stalled.write_all(&whole[..whole.len() / 2]).unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stalled, &mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    sleep(Duration::from_millis(50));
    assert_eq!(get(house.address, &target(&id, "path=/half")).code(), "file_unknown");
    assert_eq!(house.exec(&id, "echo here")["stdout"], "here\n");
}

#[test]
fn a_client_that_takes_half_a_file_holds_up_nothing() {
    let house = House::new();
    let id = house.create();
    let content = vec![1; 20 << 20];
    assert_eq!(ask(house.address, "PUT", &target(&id, "path=/large"), &[BYTES], &content).status, 204);
    let mut gone = connect(house.address);
    gone.write_all(&request("GET", &target(&id, "path=/large"), &[], b"")).unwrap();
    std::io::Read::read_exact(&mut gone, &mut [0; 1000]).unwrap();
    drop(gone);
    house.assert_works();
}
