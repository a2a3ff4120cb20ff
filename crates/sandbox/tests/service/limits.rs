//! What is promised, refused and counted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::thread;

use virtmark_hypervisor::Cancel;
use virtmark_sandbox::Error;
use virtmark_sandbox::api::*;

use crate::{Bench, command, create, destroy, until};

#[test]
fn a_storm_gets_exactly_what_there_is_at_once() {
    let bench = Bench::new();
    bench.world.boot_takes(100);
    let service = bench.service(|options| options.max_sandboxes = 5);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(|| create(&service, StartKind::Cold))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(made.len(), 5);
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!((error.code(), error.status(), error.retry_after_s()), ("limit_reached", 429, Some(1)));
    }
    assert_eq!(bench.world.0.most_alive.load(Ordering::SeqCst), 5);
    let metrics = service.metrics();
    assert_eq!((metrics.sandboxes, metrics.vcpus_committed), (5, 5));
    assert_eq!(metrics.rejected.get("limit_reached"), Some(&19));
    assert!(made.iter().all(|created| destroy(&service, &created.sandbox_id)));
    let metrics = service.metrics();
    assert_eq!((metrics.sandboxes, metrics.vcpus_committed, metrics.memory_committed_bytes), (0, 0, 0));
    assert_eq!(bench.world.alive(), 0);
}

#[test]
fn memory_is_short_before_the_number_of_sandboxes_is() {
    let bench = Bench::new();
    let service = bench.service(|options| options.total_memory_mib = 300);
    create(&service, StartKind::Cold).unwrap();
    let second = create(&service, StartKind::Cold).unwrap();
    let error = create(&service, StartKind::Cold).unwrap_err();
    assert_eq!((error.code(), error.status(), error.retry_after_s()), ("capacity", 503, Some(1)));
    destroy(&service, &second.sandbox_id);
    create(&service, StartKind::Cold).unwrap();
}

#[test]
fn a_start_that_fails_gives_its_room_back() {
    let bench = Bench::new();
    let service = bench.service(|options| options.max_sandboxes = 1);
    bench.world.0.boot_faults.lock().unwrap().push(crate::fake::panicked("m"));
    let error = create(&service, StartKind::Cold).unwrap_err();
    assert_eq!((error.code(), error.status()), ("create_failed", 500));
    assert_eq!((service.metrics().sandboxes, bench.world.alive()), (0, 0));
    assert_eq!(service.metrics().failed.len(), 1);
    create(&service, StartKind::Cold).unwrap();
}

#[test]
fn what_no_sandbox_can_have_is_the_clients_mistake() {
    let bench = Bench::new();
    let service = bench.service(|options| options.total_memory_mib = 1024);
    for request in [
        r#"{"vcpus":0}"#,
        r#"{"vcpus":9}"#,
        r#"{"memory_mib":63}"#,
        r#"{"memory_mib":1025}"#,
        r#"{"disk_mib":16385}"#,
        r#"{"timeout_s":0}"#,
        r#"{"timeout_s":86401}"#,
        r#"{"memory_mib":18446744073709551615}"#,
    ] {
        let error = service.create(serde_json::from_str(request).unwrap()).unwrap_err();
        assert_eq!((error.code(), error.status()), ("invalid_request", 400), "{request}");
    }
    let unknown = service.create(serde_json::from_str(r#"{"image":"huge"}"#).unwrap()).unwrap_err();
    assert_eq!((unknown.code(), unknown.status()), ("image_unknown", 400));
    assert_eq!(service.metrics().sandboxes, 0);
}

fn env(variables: &[(&str, &str)]) -> Env {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Env::try_from(owned.collect::<BTreeMap<_, _>>()).unwrap()
}

#[test]
fn commands_answer_in_the_words_of_a_shell() {
    let bench = Bench::new();
    let service = bench.service(|options| options.max_output_bytes = 4);
    let request = CreateRequest {
        env: env(&[("A", "1"), ("B", "1")]),
        start: Some(StartKind::Cold),
        ..Default::default()
    };
    let id = service.create(request).unwrap().sandbox_id;
    let run = |cmd: &str| service.exec(command(&id, cmd)).unwrap();
    assert_eq!(run("exit 3").exit_code, 3);
    assert_eq!(run("signal 9").exit_code, 137);
    assert_eq!((run("late").exit_code, run("late").timed_out), (124, true));
    let cut = run("echo benchmark");
    assert_eq!((cut.stdout.as_str(), cut.stdout_bytes, cut.stdout_truncated), ("benc", 10, true));
    assert!(!cut.stderr_truncated);

    let mut text = String::new();
    let request = ExecRequest { env: env(&[("B", "2")]), ..command(&id, "env") };
    let end = service.exec_stream(request, &Cancel::new(), &mut |event| {
        let StreamEvent::Stdout(piece) = event else { panic!("env writes to standard output") };
        text.push_str(&piece.data);
        ControlFlow::Continue(())
    });
    assert_eq!((text.as_str(), end.unwrap().exit_code), ("A=1\nB=2\n", 0));
    let mut pieces = 0;
    let gone = service.exec_stream(command(&id, "endless"), &Cancel::new(), &mut |_| {
        pieces += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(gone, Err(Error::ClientGone { .. })));
    assert_eq!(pieces, 1);
    let error = service.exec(ExecRequest { timeout_ms: Some(0), ..command(&id, "true") }).unwrap_err();
    assert_eq!(error.code(), "invalid_request");
    assert_eq!(service.metrics().execs, 6);
}

#[test]
fn so_many_commands_run_at_once_and_no_more() {
    let bench = Bench::new();
    let service = bench.service(|options| options.max_execs = 2);
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    thread::scope(|scope| {
        let held: Vec<_> =
            (0..3).map(|_| scope.spawn(|| service.exec(command(&id, "hold")).unwrap_err())).collect();
        until("a refusal", || service.metrics().rejected.contains_key("exec_limit"));
        destroy(&service, &id);
        let mut codes: Vec<_> = held.into_iter().map(|thread| thread.join().unwrap().code()).collect();
        codes.sort_unstable();
        assert_eq!(codes, ["exec_limit", "sandbox_gone", "sandbox_gone"]);
    });
}

#[test]
fn files_have_a_limit_and_their_failures_a_name() {
    let bench = Bench::new();
    let service = bench.service(|options| options.max_file_bytes = 999);
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    let path: GuestPath = "/file".parse().unwrap();
    let code = |outcome: virtmark_sandbox::Result<()>| outcome.map_err(|error| error.code());
    assert_eq!(code(service.put_file(&id, &path, 0o644, 3, &mut &b"abc"[..])), Ok(()));
    assert_eq!(code(service.put_file(&id, &path, 0o644, 4, &mut &b"abc"[..])), Err("client_gone"));
    assert_eq!(code(service.put_file(&id, &path, 0o10000, 3, &mut &b"abc"[..])), Err("invalid_request"));
    assert_eq!(code(service.put_file(&id, &path, 0o644, 1000, &mut &b""[..])), Err("payload_too_large"));
    let mut read = Vec::new();
    assert_eq!(service.get_file(&id, &path, &mut read).unwrap_err().code(), "payload_too_large");
    assert!(read.len() <= 999);
    let missing = service.get_file(&id, &"/missing".parse().unwrap(), &mut Vec::new()).unwrap_err();
    assert_eq!((missing.code(), missing.status()), ("file_unknown", 404));
}
