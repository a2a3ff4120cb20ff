//! The built-in mapping against a server with the API of `virtmark serve`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{Action, Request, Server, endpoint, healthy, json, spec, virtmark};
use serde_json::json;
use virtmark_driver_endpoint::Endpoint;
use virtmark_hypervisor::{Capability, Command, ExecStatus, Hypervisor, MachineState, StopMode};
use virtmark_model::{Accelerator, FailureClass, Timeline};

fn service(request: &Request) -> Action {
    let phases = json!([
        { "name": "load", "start_ns": 0, "duration_ns": 3_000_000 },
        { "name": "connect", "start_ns": 3_000_000, "duration_ns": 2_000_000 }
    ]);
    match request.line.as_str() {
        "POST /create" | "POST /snapshot/restore" => {
            thread::sleep(Duration::from_millis(5));
            json(
                200,
                json!({ "sandbox_id": "sb-1", "start": "template", "phases": phases, "duration_ns": 5_000_000 }),
            )
        }
        "POST /exec" => {
            thread::sleep(Duration::from_millis(2));
            let timed_out = request.json()["timeout_ms"] == 1;
            json(
                200,
                json!({
                    "stdout": "AP9vdXQ=", "stderr": "ZXJy", "exit_code": if timed_out { 124 } else { 3 },
                    "duration_ns": 1_500_000, "timed_out": timed_out, "stdout_bytes": 5, "stderr_bytes": 1000,
                    "stdout_truncated": false, "stderr_truncated": true
                }),
            )
        }
        "POST /destroy" => json(200, json!({ "sandbox_id": "sb-1", "destroyed": true })),
        "POST /snapshot/create" => json(
            200,
            json!({ "snapshot_id": "snap-7", "name": "s", "disk_bytes": 4096, "phases": [], "duration_ns": 1 }),
        ),
        "POST /snapshot/delete" => {
            json(200, json!({ "snapshot_id": "snap-7", "deleted": true, "deferred": false }))
        }
        "GET /sandboxes/sb-1" => json(
            200,
            json!({ "state": "running", "usage": { "cpu_ns": 5, "rss_bytes": 6, "pss_bytes": null } }),
        ),
        line if line.starts_with("PUT /sandboxes/sb-1/files") => json(200, json!({})),
        line if line.starts_with("GET /sandboxes/sb-1/files") => {
            Action::Answer(200, Vec::new(), vec![0, 255, 10])
        }
        line => json(404, json!({ "error": { "code": "not_found", "message": line, "remedy": "ask less" } })),
    }
}

fn names(timeline: &Timeline) -> Vec<&str> {
    timeline.phases.iter().map(|phase| phase.name.as_ref()).collect()
}

#[test]
fn a_machine_lives_from_create_to_destroy() {
    let (server, endpoint) = endpoint(service);
    let called = Instant::now();
    let (mut machine, timeline) = endpoint.create(&spec("m-1")).unwrap();
    let wall_ns = called.elapsed().as_nanos() as u64;
    assert_eq!(names(&timeline), ["http", "load", "connect"]);
    assert_eq!(timeline.phase_ns("load"), Some(3_000_000));
    assert!(timeline.total_ns() <= wall_ns && timeline.total_ns() >= 5_000_000, "{timeline:?} in {wall_ns}");
    assert_eq!(machine.state(), MachineState::Created);
    assert!(machine.guest().is_err(), "the guest of a machine that was not started");
    assert_eq!(machine.start().unwrap(), Timeline::default());

    let guest = machine.guest().unwrap();
    let mut command = Command::argv(["echo", "it's"]);
    command.stdin = b"in".to_vec();
    command.env.insert("A".into(), "b".into());
    command.timeout = Some(Duration::from_micros(1_500_001));
    let output = guest.exec(&command).unwrap();
    assert_eq!(output.stdout, b"\0\xffout");
    assert_eq!((output.stderr.as_slice(), output.stdout_bytes, output.stderr_bytes), (&b"err"[..], 5, 1000));
    assert_eq!(output.status, ExecStatus::Exited(3));
    assert_eq!(names(&output.timeline), ["http", "exec"]);
    assert_eq!(output.timeline.phase_ns("exec"), Some(1_500_000));
    command = Command::shell("sleep 9");
    command.timeout = Some(Duration::from_nanos(1));
    assert_eq!(guest.exec(&command).unwrap().status, ExecStatus::TimedOut);

    let usage = machine.usage().unwrap();
    assert_eq!((usage.cpu_ns, usage.rss_bytes, usage.pss_bytes), (Some(5), Some(6), None));
    assert_eq!(machine.stop(StopMode::Forced).unwrap_err().class(), FailureClass::Unsupported);

    assert_eq!(names(&machine.destroy().unwrap()), ["destroy"]);
    machine.destroy().unwrap();
    drop(machine);
    let lines = server.lines();
    assert_eq!(
        lines,
        ["GET /healthz", "POST /create", "POST /exec", "POST /exec", "GET /sandboxes/sb-1", "POST /destroy"]
    );
    let requests = server.requests();
    assert_eq!(requests[1].json(), json!({ "vcpus": 2, "memory_mib": 256, "metadata": { "name": "m-1" } }));
    assert_eq!(
        requests[2].json(),
        json!({
            "sandbox_id": "sb-1", "cmd": r"'echo' 'it'\''s'", "timeout_ms": 1501, "stdin": "in", "env": { "A": "b" },
            "encoding": "base64"
        })
    );
    assert_eq!(server.connections(), 1, "connections are kept");
    assert_eq!(endpoint.notes(), []);
}

#[test]
fn the_service_says_what_it_is() {
    let (_server, endpoint) = endpoint(service);
    let facts = endpoint.facts();
    assert_eq!((facts.name.as_str(), facts.version.as_str()), ("sandbox", "0.1.0"));
    assert_eq!(facts.accelerator, Some(Accelerator::Tcg));
    assert_eq!(facts.accelerator_reason.as_deref(), Some("no /dev/kvm"));
    assert!(facts.configuration.as_ref().unwrap().ends_with("; qemu 7.2; pc"), "{facts:?}");
    assert_eq!(endpoint.image().unwrap().name, "tiny");
    let has = |capability| endpoint.capabilities().has(capability);
    let present: Vec<_> = Capability::ALL.into_iter().filter(|capability| has(*capability)).collect();
    assert_eq!(present, [Capability::ResourceUsage, Capability::Restore, Capability::Snapshot]);
    let mut wrong = spec("m-1");
    wrong.kernel_arguments.push("quiet".into());
    assert_eq!(endpoint.create(&wrong).err().unwrap().class(), FailureClass::Unsupported);
}

#[test]
fn options_reach_the_service_and_zero_is_its_own_choice() {
    let server = Server::start(|request| match request.line.as_str() {
        "GET /healthz" => healthy(),
        _ => service(request),
    });
    let mut options = virtmark(&server.url);
    options.token = Some("secret".into());
    options.image = Some("bench".into());
    options.start = Some("warm".into());
    options.lifetime = Some(Duration::from_millis(1_001));
    let endpoint = Endpoint::new(options).unwrap();
    let mut small = spec("m-2");
    (small.vcpus, small.memory_bytes) = (0, 0);
    endpoint.create(&small).unwrap();
    let request = &server.requests()[1];
    assert_eq!(
        request.json(),
        json!({ "image": "bench", "start": "warm", "timeout_s": 2, "metadata": { "name": "m-2" } })
    );
    assert_eq!(request.headers["authorization"], "Bearer secret");
    // The machine was dropped, and is gone there.
    assert_eq!(server.lines()[2], "POST /destroy");
}

#[test]
fn snapshots_are_the_services_and_leave_nothing_here() {
    let (server, endpoint) = endpoint(service);
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("fixture");
    let (mut machine, _) = endpoint.create(&spec("m-1")).unwrap();
    machine.start().unwrap();
    let (snapshot, timeline) = machine.snapshot(&directory).unwrap();
    assert_eq!(names(&timeline), ["http", "snapshot"]);
    assert_eq!(snapshot.disk_bytes, 4096);
    assert!(machine.snapshot(&directory).is_err(), "a snapshot over another one");
    let (restored, timeline) = endpoint.restore(&snapshot, &spec("m-3")).unwrap();
    assert_eq!(names(&timeline), ["http", "load", "connect"]);
    assert_eq!(restored.state(), MachineState::Running);
    assert!(restored.guest().is_ok());
    drop((machine, restored));
    endpoint.discard(snapshot).unwrap();
    assert!(!directory.exists());
    let of = |line: &str| server.requests().into_iter().find(|request| request.line == line).unwrap().json();
    assert_eq!(of("POST /snapshot/create"), json!({ "sandbox_id": "sb-1", "name": "fixture" }));
    assert_eq!(
        of("POST /snapshot/restore"),
        json!({ "snapshot_id": "snap-7", "metadata": { "name": "m-3" } })
    );
    assert_eq!(of("POST /snapshot/delete"), json!({ "snapshot_id": "snap-7" }));
}

#[test]
fn files_go_in_and_come_out() {
    let (server, endpoint) = endpoint(|request| match request.line.as_str() {
        // `stat` says the mode.
        "POST /exec" => json(200, json!({ "stdout": "NjQwCg==", "stderr": "", "exit_code": 0 })),
        _ => service(request),
    });
    let (mut machine, _) = endpoint.create(&spec("m-1")).unwrap();
    machine.start().unwrap();
    let guest = machine.guest().unwrap();
    guest.put(&mut &b"\0\x01\x02"[..], 3, "/tmp/a b&c", 0o644).unwrap();
    let mut content = Vec::new();
    assert_eq!(guest.get("/tmp/x", &mut content).unwrap(), 0o640);
    assert_eq!(content, [0, 255, 10]);
    let put = &server.requests()[2];
    assert_eq!(put.line, "PUT /sandboxes/sb-1/files?path=%2Ftmp%2Fa%20b%26c&mode=0644");
    assert_eq!(put.body, [0, 1, 2]);
}

#[test]
fn times_that_cannot_be_are_not_used_and_noted() {
    let (_server, endpoint) = endpoint(|request| match request.line.as_str() {
        "POST /create" => json(200, json!({ "sandbox_id": 7, "duration_ns": 3_600_000_000_000_u64 })),
        _ => service(request),
    });
    let (_machine, timeline) = endpoint.create(&spec("m-1")).unwrap();
    assert_eq!(names(&timeline), ["create"]);
    let notes = endpoint.notes();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].0.contains("create") && notes[0].1 == 1, "{notes:?}");
}

#[test]
fn a_hundred_threads_share_one_client() {
    let (server, endpoint) = endpoint(|request| match request.line.as_str() {
        "POST /create" => {
            let id = request.json()["metadata"]["name"].clone();
            json(200, json!({ "sandbox_id": id }))
        }
        "POST /exec" => {
            thread::sleep(Duration::from_millis(100));
            json(200, json!({ "stdout": "", "exit_code": 0 }))
        }
        _ => service(request),
    });
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..100 {
            let endpoint = &endpoint;
            scope.spawn(move || {
                let (mut machine, _) = endpoint.create(&spec(&format!("m-{number}"))).unwrap();
                machine.start().unwrap();
                assert!(machine.guest().unwrap().exec(&Command::shell("true")).unwrap().success());
            });
        }
    });
    // One after the other they would take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let mut destroyed: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.line == "POST /destroy")
        .map(|request| request.json()["sandbox_id"].as_str().unwrap().to_owned())
        .collect();
    destroyed.sort();
    destroyed.dedup();
    assert_eq!(destroyed.len(), 100);
}
