//! Services that are not there, do not answer, or answer something else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Action, Server, endpoint, json, spec, virtmark};
use serde_json::json;
use virtmark_driver_endpoint::Endpoint;
use virtmark_hypervisor::{Command, Error, Hypervisor, Machine};
use virtmark_model::FailureClass;

/// The error of a create at a service that does this with it.
fn create_at(handler: impl Fn() -> Action + Send + Sync + 'static) -> (Error, Server) {
    create_within(Duration::from_secs(20), handler)
}

/// The same, when it has no more time than this.
fn create_within(time: Duration, handler: impl Fn() -> Action + Send + Sync + 'static) -> (Error, Server) {
    let (server, endpoint) = endpoint(move |_| handler());
    let mut spec = spec("m-1");
    spec.ready_timeout = time;
    let error = endpoint.create(&spec).err().unwrap();
    (error, server)
}

#[track_caller]
fn check(error: &Error, class: FailureClass, told: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.class(), class, "{text}");
    for told in told {
        assert!(text.contains(told), "{told:?} is not in: {text}");
    }
}

/// Said when a machine may be left.
const LEFT: &str = "the service may have made a machine all the same";

#[test]
fn nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Endpoint::new(virtmark(&url)).err().unwrap();
    check(
        &error,
        FailureClass::HypervisorMissing,
        &[&url, "nothing answers there", "virtmark serve", "--endpoint"],
    );
    let error = Endpoint::new(virtmark("http://no-such-host.invalid")).err().unwrap();
    check(&error, FailureClass::HypervisorMissing, &["the host's name is not known"]);
}

#[test]
fn https_to_a_service_that_speaks_http_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut hello = [0; 4096];
        let read = socket.read(&mut hello).unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        hello[..read].to_vec()
    });
    let mut options = virtmark(&url);
    options.token = Some("secret".into());
    let error = Endpoint::new(options).err().unwrap();
    check(&error, FailureClass::HypervisorMissing, &[&url, "there is no TLS connection to it"]);
    let sent = served.join().unwrap();
    // A TLS record of a handshake, and nothing of the request.
    assert_eq!(sent[0], 22);
    assert!(!sent.windows(6).any(|bytes| bytes == b"secret"));
}

#[test]
fn a_url_that_is_none_is_refused() {
    for (url, told) in [
        ("127.0.0.1:8080", "it"),
        ("/run/socket", "it has no host"),
        ("ftp://host", "neither http nor https"),
        ("http://me:secret@host", "--token"),
        ("http://host/?a=b", "it has a query"),
        ("", "it"),
    ] {
        check(&Endpoint::new(virtmark(url)).err().unwrap(), FailureClass::HypervisorMissing, &[told]);
    }
}

#[test]
fn the_service_fails() {
    let error =
        json!({ "error": { "code": "start_failed", "message": "QEMU died", "remedy": "look at its log" } });
    let (error, _) = create_at(move || json(500, error.clone()));
    check(
        &error,
        FailureClass::Other,
        &[
            "cannot create m-1 (POST http://",
            "/create): the service answered 500 start_failed: QEMU died; look at its log",
        ],
    );
}

#[test]
fn the_service_is_full() {
    for status in [429, 503] {
        let (error, server) = create_at(move || {
            let body = json!({ "error": { "code": "limit_sandboxes", "message": "20 of 20" } });
            Action::Answer(status, vec![("Retry-After", "3".into())], body.to_string().into_bytes())
        });
        let told = format!("the service answered {status} limit_sandboxes: 20 of 20 (Retry-After: 3 s)");
        check(&error, FailureClass::Other, &[&told]);
        assert_eq!(server.lines().len(), 2, "it was asked again");
    }
}

#[test]
fn a_class_that_the_service_names_counts() {
    use FailureClass::*;
    for (status, named, class) in [
        (500, Some("guest_panic"), GuestPanic),
        (409, Some("vmm_exited"), VmmExited),
        (409, Some("agent_lost"), AgentLost),
        (503, Some("out_of_memory"), OutOfMemory),
        (500, Some("disk_full"), DiskFull),
        (504, Some("timeout"), Timeout),
        (504, Some("guest_silent"), GuestSilent),
        (500, Some("kernel_invalid"), KernelInvalid),
        (500, Some("image_damaged"), ImageDamaged),
        // What nobody knows stays what the status says.
        (504, Some("bad_hair"), Timeout),
        (403, None, PermissionDenied),
        (507, None, DiskFull),
        (410, None, VmmExited),
        (404, None, Other),
    ] {
        let (error, _) = create_at(move || {
            json(status, json!({ "error": { "code": "c", "message": "told why", "class": named } }))
        });
        check(
            &error,
            class,
            &["cannot create m-1 (POST http://", "told why"][usize::from(named.is_none())..],
        );
        assert_eq!(error.is_passing(), status == 503, "{error}");
    }
}

#[test]
fn html_instead_of_json() {
    let page = || Action::Answer(200, Vec::new(), b"<html>\n  <h1>Welcome</h1></html>".to_vec());
    let (error, _) = create_at(page);
    check(&error, FailureClass::Other, &["not JSON", "<html> <h1>Welcome</h1></html>", "--mapping", LEFT]);
    let (error, _) = create_at(|| Action::Answer(502, Vec::new(), b"<html>Bad gateway</html>".to_vec()));
    check(&error, FailureClass::Other, &["the service answered 502", "Bad gateway"]);
}

#[test]
fn an_answer_without_what_must_be_in_it() {
    let (error, _) = create_at(|| json(200, json!({ "id": "sb-1" })));
    check(&error, FailureClass::Other, &["there is not an identifier at /sandbox_id", "sb-1", LEFT]);
}

#[test]
fn an_answer_that_breaks_off() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"sandbox_id\":";
    let (error, server) = create_at(|| Action::Raw(cut.into()));
    check(&error, FailureClass::Other, &["the answer was lost", LEFT]);
    assert_eq!(server.lines().len(), 2, "create was repeated");
    let (error, _) = create_at(|| Action::Raw(b"HTTP/1.1 2".to_vec()));
    check(&error, FailureClass::Other, &["the answer was lost", LEFT]);
    let (error, _) = create_at(|| Action::Raw(b"SSH-2.0-OpenSSH_9\r\n\r\n".to_vec()));
    check(&error, FailureClass::Other, &["the answer was lost"]);
}

#[test]
fn no_answer_at_all() {
    let started = Instant::now();
    let (error, _) = create_within(Duration::from_millis(400), || Action::Hang);
    check(&error, FailureClass::Timeout, &["400ms", LEFT]);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_answer_without_end() {
    let server = Server::start(|_| Action::Answer(200, Vec::new(), vec![b' '; 1 << 20]));
    let mut options = virtmark(&server.url);
    options.max_answer_bytes = 1000;
    let error = Endpoint::new(options).err().unwrap();
    check(&error, FailureClass::Other, &["larger than the 1000 bytes"]);
}

#[test]
fn a_redirect_is_not_followed() {
    let (error, server) =
        create_at(|| Action::Answer(307, vec![("Location", "http://127.0.0.1:1/".into())], Vec::new()));
    check(&error, FailureClass::Other, &["the service answered 307", "no redirect is followed"]);
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn machines_that_are_gone() {
    let (server, endpoint) = endpoint(|request| match request.line.as_str() {
        "POST /create" => json(200, json!({ "sandbox_id": "sb-1" })),
        "POST /exec" => json(410, json!({ "error": { "code": "gone", "message": "its life time passed" } })),
        _ => json(404, json!({ "error": { "code": "unknown_sandbox", "message": "no such sandbox" } })),
    });
    let (mut machine, _) = endpoint.create(&spec("m-1")).unwrap();
    machine.start().unwrap();
    let error = machine.guest().unwrap().exec(&Command::shell("true")).unwrap_err();
    check(&error, FailureClass::VmmExited, &["m-1", "sb-1", "its life time passed"]);
    machine.destroy().unwrap();
    drop(machine);
    assert_eq!(server.lines().last().unwrap(), "POST /destroy");
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn a_closed_connection_is_tried_again_only_where_that_is_safe() {
    let closed = AtomicU32::new(0);
    let (server, endpoint) = endpoint(move |request| match request.line.as_str() {
        "POST /create" => json(200, json!({ "sandbox_id": "sb-1" })),
        "POST /destroy" if closed.fetch_add(1, Ordering::SeqCst) > 0 => {
            json(200, json!({ "destroyed": true }))
        }
        _ => Action::Close,
    });
    let (mut machine, _): (Box<dyn Machine>, _) = endpoint.create(&spec("m-1")).unwrap();
    machine.start().unwrap();
    let error = machine.guest().unwrap().exec(&Command::shell("true")).unwrap_err();
    check(
        &error,
        FailureClass::Other,
        &["closed without an answer", "the command may have run all the same"],
    );
    machine.destroy().unwrap();
    assert_eq!(
        server.lines(),
        ["GET /healthz", "POST /create", "POST /exec", "POST /destroy", "POST /destroy"]
    );
    let (error, server) = create_at(|| Action::Close);
    check(&error, FailureClass::Other, &["closed without an answer", LEFT]);
    assert_eq!(server.lines().len(), 2);
}
