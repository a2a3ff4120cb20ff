//! What the interface promises when nothing is wrong.

use serde_json::{Value, json};

use crate::client::{Reply, ask, connect, get, post, request};
use crate::house::House;
use std::io::{Read, Write};

#[test]
fn a_sandbox_lives_from_its_creation_to_its_end() {
    let house = House::new();
    let asked =
        json!({ "memory_mib": 128, "env": { "A": "1" }, "metadata": { "user": "ada" }, "timeout_s": 60 });
    let reply = post(house.address, "/create", &asked);
    let created = reply.json();
    assert_eq!(reply.status, 200, "{created}");
    let id = created["sandbox_id"].as_str().unwrap().to_owned();
    assert_eq!(created["metadata"]["user"], "ada");
    assert_eq!(created["start"], "cold");
    let phases = created["phases"].as_array().unwrap();
    let sum: u64 = phases.iter().map(|phase| phase["duration_ns"].as_u64().unwrap()).sum();
    assert_eq!(Some(sum), created["duration_ns"].as_u64(), "{created}");

    let answer = house.exec(&id, "echo hello");
    assert_eq!((&answer["stdout"], &answer["exit_code"]), (&json!("hello\n"), &json!(0)));
    assert_eq!(house.exec(&id, "exit 3")["exit_code"], 3);
    let timed = json!({ "sandbox_id": id, "cmd": "sleep", "timeout_ms": 20 });
    let timed = post(house.address, "/exec", &timed).json();
    assert_eq!((&timed["exit_code"], &timed["timed_out"]), (&json!(124), &json!(true)));

    let list = get(house.address, "/sandboxes").json();
    assert_eq!(list["sandboxes"][0]["sandbox_id"], id.as_str());
    let one = get(house.address, &format!("/sandboxes/{id}")).json();
    assert_eq!((&one["state"], &one["usage"]["rss_bytes"]), (&json!("running"), &json!(2)));

    for destroyed in [true, false] {
        let reply = post(house.address, "/destroy", &json!({ "sandbox_id": id }));
        assert_eq!((reply.status, &reply.json()["destroyed"]), (200, &json!(destroyed)));
    }
    assert_eq!(house.machines(), 0);
    let reply = post(house.address, "/exec", &json!({ "sandbox_id": id, "cmd": "echo" }));
    assert_eq!((reply.status, reply.code().as_str()), (410, "sandbox_gone"));
}

#[test]
fn snapshots_are_taken_listed_restored_and_deleted() {
    let house = House::new();
    let id = house.create();
    let taken = post(house.address, "/snapshot/create", &json!({ "sandbox_id": id, "name": "one" })).json();
    let snapshot = taken["snapshot_id"].as_str().unwrap();
    let restored = post(house.address, "/snapshot/restore", &json!({ "snapshot_id": snapshot })).json();
    assert_eq!(restored["start"], "snapshot", "{restored}");
    let list = get(house.address, "/snapshot/list").json();
    assert_eq!(list["snapshots"][0]["in_use_by"], json!([restored["sandbox_id"]]));
    let deleted = post(house.address, "/snapshot/delete", &json!({ "snapshot_id": snapshot })).json();
    assert_eq!((&deleted["deleted"], &deleted["deferred"]), (&json!(false), &json!(true)));
    let again = post(house.address, "/snapshot/restore", &json!({ "snapshot_id": snapshot }));
    assert_eq!(again.code(), "snapshot_unknown");
}

#[test]
fn health_metrics_and_the_document_are_there() {
    let house = House::new();
    house.create();
    let health = get(house.address, "/healthz").json();
    assert_eq!((&health["status"], &health["hypervisor"]["name"]), (&json!("ok"), &json!("fake")));
    assert_eq!(health["confinement"], Value::Null);
    let confined = House::with(|options| options.confinement = Some(json!({ "seccomp": true })), |_| {});
    assert_eq!(get(confined.address, "/healthz").json()["confinement"], json!({ "seccomp": true }));
    let document = get(house.address, "/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        document["components"]["schemas"]["CreateRequest"]["properties"]["image"]["enum"],
        json!(["tiny", null])
    );
    assert_eq!(get(house.address, "/nothing").status, 404);
    let metrics = get(house.address, "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(metrics.body).unwrap();
    for line in [
        "# TYPE virtmark_sandboxes gauge",
        "virtmark_sandboxes 1",
        "virtmark_sandboxes_created_total{start=\"cold\"} 1",
        "virtmark_create_seconds_count{start=\"cold\"} 1",
        "virtmark_http_requests_total{route=\"/create\",method=\"POST\",status=\"200\"} 1",
        "virtmark_rejected_total{code=\"not_found\"} 1",
        "virtmark_http_request_seconds_count{route=\"/create\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_family_of_metrics_is_explained_once_and_before_its_samples() {
    let house = House::new();
    house.create();
    let text = String::from_utf8(get(house.address, "/metrics").body).unwrap();
    let mut known: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(!known.contains(&name), "{name} twice");
            known.push(name);
        } else if !line.starts_with('#') {
            let family = known.last().unwrap();
            let name = line.split(['{', ' ']).next().unwrap();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{name} in {family}"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{name} in {family}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(known.len() > 10, "{known:?}");
}

#[test]
fn every_answer_is_private_and_is_what_it_says() {
    let house = House::new();
    for (method, target) in
        [("GET", "/healthz"), ("GET", "/nothing"), ("DELETE", "/create"), ("OPTIONS", "/create")]
    {
        let reply = ask(house.address, method, target, &[], b"");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{method} {target}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{method} {target}");
        let timing = reply.header("server-timing").unwrap();
        assert!(timing.strip_prefix("app;dur=").unwrap().parse::<f64>().is_ok(), "{timing}");
    }
}

#[test]
fn head_is_get_without_a_body_and_options_tell_the_methods() {
    let house = House::new();
    let head = ask(house.address, "HEAD", "/healthz", &[], b"");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    assert!(head.header("said-length").unwrap().parse::<u64>().unwrap() > 2);
    assert_eq!(ask(house.address, "HEAD", "/create", &[], b"").status, 405);
    let options = ask(house.address, "OPTIONS", "/sandboxes/x/files", &[], b"");
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, PUT, OPTIONS")));
    assert_eq!(ask(house.address, "OPTIONS", "/nothing", &[], b"").code(), "not_found");
    let wrong = ask(house.address, "PATCH", "/create", &[], b"");
    assert_eq!(
        (wrong.status, wrong.header("allow"), wrong.code().as_str()),
        (405, Some("POST, OPTIONS"), "method_not_allowed")
    );
}

#[test]
fn requests_in_a_row_on_one_connection_are_answered_in_order() {
    let house = House::new();
    let id = house.create();
    let mut bytes = Vec::new();
    for number in 0..5 {
        let body = json!({ "sandbox_id": id, "cmd": format!("echo {number}") }).to_string();
        let one = request("POST", "/exec", &[("Content-Type", "application/json")], body.as_bytes());
        let one = String::from_utf8(one).unwrap();
        bytes.extend(if number < 4 { one.replace("Connection: close\r\n", "") } else { one }.bytes());
    }
    let mut stream = connect(house.address);
    stream.write_all(&bytes).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let mut rest = &answers[..];
    for number in 0..5 {
        let (reply, after) = Reply::parse(rest).unwrap();
        assert_eq!(reply.json()["stdout"], Value::from(format!("{number}\n")));
        rest = after;
    }
    assert!(rest.is_empty());
}
