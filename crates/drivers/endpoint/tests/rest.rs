//! The mapping of another API, against a server of that shape.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{Action, Request, Server, json, spec};
use serde_json::json;
use virtmark_driver_endpoint::{Endpoint, EndpointOptions, Mapping};
use virtmark_hypervisor::{Capability, Command, Hypervisor};
use virtmark_model::FailureClass;

fn options(server: &Server) -> EndpointOptions {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/rest.toml");
    let mut options = EndpointOptions::new(format!("{}/", server.url), Mapping::read(&file).unwrap());
    options.token = Some("key-1".into());
    options.image = Some("base".into());
    options
}

/// A service whose machine is ready when it was asked for the third time.
fn service(last_state: &'static str) -> impl Fn(&Request) -> Action {
    let asked = AtomicU32::new(0);
    move |request| {
        if request.headers.get("x-api-key").map(String::as_str) != Some("key-1") {
            return json(401, json!({ "errors": [{ "detail": "who are you?" }] }));
        }
        match request.line.as_str() {
            "POST /v2/sandboxes" => json(201, json!({ "data": { "id": "a/b", "state": "starting" } })),
            "GET /v2/sandboxes/a%2Fb" => {
                let state = if asked.fetch_add(1, Ordering::SeqCst) < 2 { "starting" } else { last_state };
                json(200, json!({ "data": { "state": state } }))
            }
            "POST /v2/sandboxes/a%2Fb/commands" => {
                json(200, json!({ "result": { "out": "ok\n", "err": "", "code": 0, "took_ms": 0.01 } }))
            }
            "DELETE /v2/sandboxes/a%2Fb" => Action::Answer(204, Vec::new(), Vec::new()),
            line => json(404, json!({ "errors": [{ "detail": line }] })),
        }
    }
}

#[test]
fn another_api_is_measured_without_code() {
    let server = Server::start(service("running"));
    let endpoint = Endpoint::new(options(&server)).unwrap();
    assert_eq!(endpoint.facts().name, "example-rest");
    assert_eq!(endpoint.facts().accelerator, None);
    assert!(!endpoint.capabilities().has(Capability::Snapshot));
    let (mut machine, timeline) = endpoint.create(&spec("m-1")).unwrap();
    let names: Vec<_> = timeline.phases.iter().map(|phase| phase.name.as_ref()).collect();
    assert_eq!(names, ["create", "ready"]);
    assert!(timeline.phase_ns("ready").unwrap() >= 40_000_000, "two pauses of 20 ms: {timeline:?}");
    machine.start().unwrap();
    let mut command = Command::shell("echo ok");
    command.timeout = Some(Duration::from_millis(2_100));
    let output = machine.guest().unwrap().exec(&command).unwrap();
    assert_eq!((output.stdout.as_slice(), output.success()), (&b"ok\n"[..], true));
    assert_eq!(output.timeline.phase_ns("exec"), Some(10_000));
    machine.destroy().unwrap();
    let requests = server.requests();
    assert_eq!(
        requests[0].json(),
        json!({ "template": "base", "resources": { "cpu": 2, "ram_mb": 256 }, "label": "virtmark-m-1" })
    );
    assert_eq!(
        requests[4].json(),
        json!({ "argv": ["/bin/sh", "-c", "echo ok"], "wait": true, "limit_seconds": 3 })
    );
    command.stdin = b"x".to_vec();
    let (mut machine, _) = endpoint.create(&spec("m-2")).unwrap();
    machine.start().unwrap();
    let error = machine.guest().unwrap().exec(&command).unwrap_err().to_string();
    assert_eq!(
        error,
        "the agent in m-2 could not run a command with input: the mapping has no place for it in exec"
    );
}

#[test]
fn a_machine_that_never_becomes_ready_is_destroyed() {
    for (last_state, class) in [("failed", FailureClass::VmmExited), ("starting", FailureClass::GuestSilent)]
    {
        let server = Server::start(service(last_state));
        let endpoint = Endpoint::new(options(&server)).unwrap();
        let mut spec = spec("m-1");
        spec.ready_timeout = Duration::from_secs(1);
        let error = endpoint.create(&spec).err().unwrap();
        assert_eq!(error.class(), class, "{error}");
        assert_eq!(server.lines().last().unwrap(), "DELETE /v2/sandboxes/a%2Fb");
    }
}

#[test]
fn a_wrong_key_is_told_with_what_to_do() {
    let server = Server::start(service("running"));
    let mut options = options(&server);
    options.token = Some("key-2".into());
    let endpoint = Endpoint::new(options).unwrap();
    let error = endpoint.create(&spec("m-1")).err().unwrap();
    assert_eq!(error.class(), FailureClass::PermissionDenied);
    let told = error.to_string();
    assert!(
        told.contains("the service answered 401: who are you?; give the service's token with --token"),
        "{told}"
    );
    assert!(!told.contains("key-2"), "{told}");
}
