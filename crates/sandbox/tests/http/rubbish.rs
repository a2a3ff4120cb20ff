//! Requests that are not what they should be: told so, with a stable code, and nothing breaks.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::client::{Reply, ask, exchange, get, post, request};
use crate::house::House;

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn wrong_bodies_are_told_with_their_place() {
    let house = House::new();
    let code = |target: &str, body: &str| {
        let reply = ask(house.address, "POST", target, &[JSON], body.as_bytes());
        assert_eq!(reply.status, 400, "{target} {body}: {reply:?}");
        (reply.code(), reply.json()["error"]["message"].as_str().unwrap().to_owned())
    };
    for (body, place) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("[]", "list"),
        ("null", "line 1"),
        ("{\"vcpus\": \"two\"}", "vcpus"),
        ("{\"vcpus\": -1}", "vcpus"),
        ("{\"vcpus\": 1e99}", "vcpus"),
        ("{\"vcpu\": 1}", "vcpu"),
        ("{\"env\": {\"A\": 1}}", "env.A"),
        ("{} {}", "trailing"),
        ("{\"image\": \"../../etc/passwd\"}", "image"),
        ("{\"start\": \"hot\"}", "hot"),
    ] {
        let (code, message) = code("/create", body);
        assert_eq!(code, "invalid_json", "{body}");
        assert!(message.contains(place), "{body}: {message}");
    }
    assert_eq!(code("/create", "{\"vcpus\": 1000}").0, "invalid_request");
    assert_eq!(code("/exec", "{\"cmd\": \"true\"}").0, "invalid_json");
    assert_eq!(code("/destroy", "{\"sandbox_id\": \"; rm -rf /\"}").0, "invalid_json");
    assert_eq!(house.behaviour.made.load(Ordering::SeqCst), 0);
}

#[test]
fn deep_and_broken_json_is_refused() {
    let house = House::new();
    let deep = format!("{{\"env\":{}", "[".repeat(100_000));
    assert_eq!(ask(house.address, "POST", "/create", &[JSON], deep.as_bytes()).code(), "invalid_json");
    let not_text = b"{\"env\":{\"A\":\"\xff\xfe\"}}";
    assert_eq!(ask(house.address, "POST", "/create", &[JSON], not_text).code(), "invalid_json");
}

#[test]
fn a_body_of_another_type_is_refused() {
    let house = House::new();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "\u{e4}"] {
        let reply = ask(house.address, "POST", "/create", &[("Content-Type", wrong)], b"{}");
        assert_eq!((reply.status, reply.code().as_str()), (415, "unsupported_media_type"), "{wrong}");
    }
    assert_eq!(ask(house.address, "POST", "/create", &[], b"{}").status, 415);
    let right = [("Content-Type", "Application/JSON; charset=utf-8")];
    assert_eq!(ask(house.address, "POST", "/create", &right, b"{}").status, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_answer_arrives() {
    let house = House::with(|limits| limits.max_request_bytes = 1000, |_| {});
    let large = format!("{{\"image\": \"{}\"}}", "x".repeat(5 << 20));
    let reply = ask(house.address, "POST", "/create", &[JSON], large.as_bytes());
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
    let mut chunked =
        b"POST /create HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..300 {
        chunked.extend(format!("1000\r\n{}\r\n", " ".repeat(0x1000)).bytes());
    }
    chunked.extend(b"0\r\n\r\n");
    let answer = exchange(house.address, &chunked);
    let (reply, _) = Reply::parse(&answer).unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (413, "body_too_large"));
    house.assert_works();
}

#[test]
fn a_client_that_waits_for_leave_to_send_is_refused_before_it_does() {
    let house = House::new();
    let head = b"POST /create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n";
    let answer = exchange(house.address, head);
    let (reply, _) = Reply::parse(&answer).unwrap();
    assert_eq!(reply.status, 413);
}

#[test]
fn ids_and_paths_that_are_none_are_refused() {
    let house = House::new();
    for (target, status) in [
        ("/sandboxes/..%2f..%2fetc%2fpasswd", 400),
        ("/sandboxes/%ff", 400),
        ("/sandboxes/%", 400),
        ("/sandboxes/%zz", 400),
        ("/sandboxes/sb-0123456789abcdef0123456789abcdeg", 400),
        ("/sandboxes/sb-0123456789abcdef0123456789abcdef", 404),
        ("/sandboxes/sb-0123456789abcdef0123456789abcdef?x=1", 400),
        ("/sandboxes/../create", 404),
        ("/%63reate", 404),
        ("/healthz?verbose=1", 400),
        ("/healthz?%", 400),
    ] {
        let reply = get(house.address, target);
        assert_eq!(reply.status, status, "{target}: {reply:?}");
        assert!(!reply.code().is_empty());
    }
    let unknown = json!({ "sandbox_id": "sb-0123456789abcdef0123456789abcdef", "cmd": "true" });
    let reply = post(house.address, "/exec", &unknown);
    assert_eq!((reply.status, reply.code().as_str()), (404, "sandbox_unknown"));
    let destroyed = json!({ "sandbox_id": "sb-0123456789abcdef0123456789abcdef" });
    assert_eq!(post(house.address, "/destroy", &destroyed).json()["destroyed"], false);
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let house = House::new();
    let long = get(house.address, &format!("/healthz?{}", "x".repeat(20_000)));
    assert_eq!((long.status, long.code().as_str()), (414, "uri_too_long"));
    let status = |bytes: &[u8]| {
        let answer = exchange(house.address, bytes);
        Reply::parse(&answer).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&answer))).0.status
    };
    let value = "x".repeat(200_000);
    assert_eq!(status(&request("GET", "/healthz", &[("X-Large", &value)], b"")), 431);
    let many: Vec<_> = (0..200).map(|_| ("X-Many", "x")).collect();
    assert_eq!(status(&request("GET", "/healthz", &many, b"")), 431);
    assert_eq!(status(b"\x16\x03\x01 this is no HTTP\r\n\r\n"), 400);
    assert_eq!(status(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n"), 400);
    house.assert_works();
}

#[test]
fn a_panic_is_an_answer_and_the_service_lives() {
    let house = House::new();
    house.behaviour.panics.store(true, Ordering::SeqCst);
    let reply = post(house.address, "/create", &json!({}));
    assert_eq!(reply.status, 500, "{reply:?}");
    reply.code();
    house.behaviour.panics.store(false, Ordering::SeqCst);
    let id = house.create();
    let reply = post(house.address, "/exec", &json!({ "sandbox_id": id, "cmd": "panic" }));
    assert_eq!((reply.status, reply.code().as_str()), (500, "internal"));
    let reply = post(house.address, "/exec/stream", &json!({ "sandbox_id": id, "cmd": "panic" }));
    assert_eq!((reply.status, reply.code().as_str()), (500, "internal"));
    assert_eq!(house.exec(&id, "echo on")["stdout"], "on\n");
    house.assert_works();
}

/// One service for all the rubbish: it must live through it.
fn shared_house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    // Bytes that are the beginning of a head are waited for.
    HOUSE.get_or_init(|| House::with(|_| {}, |http| http.head_timeout = Duration::from_secs(1)))
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        "/(create|exec|exec/stream|destroy|snapshot/create|snapshot/restore|snapshot/delete)",
        "/sandboxes/[!-~&&[^# ]]{0,40}(/files)?(\\?(path|mode|x)=[!-~&&[^# ]]{0,20})?",
        "/[!-~&&[^# ]]{0,60}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "\\{\"(sandbox_id|cmd|snapshot_id|name|env|vcpus)\": ?[ -~]{0,40}\\}".prop_map(String::into_bytes),
        "[\\[\\]{}\":,0-9a-z ]{0,80}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_request_is_answered_by_a_failure_of_the_service(
        method in "(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|[A-Z]{1,8})",
        target in target(),
        body in body(),
    ) {
        let house = shared_house();
        let answer = exchange(house.address, &request(&method, &target, &[JSON], &body));
        let text = String::from_utf8_lossy(&answer);
        let status: u16 = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        prop_assert!((200..500).contains(&status), "{method} {target}: {text}");
        prop_assert_eq!(get(house.address, "/healthz").status, 200);
    }

    #[test]
    fn no_bytes_end_the_service(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let house = shared_house();
        let answer = exchange(house.address, &[&bytes, &b"\r\n\r\n"[..]].concat());
        let text = String::from_utf8_lossy(&answer);
        prop_assert!(answer.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        prop_assert_eq!(get(house.address, "/healthz").status, 200);
    }
}
