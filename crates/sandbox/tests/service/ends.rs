//! The ends of sandboxes.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_model::FailureClass;
use virtmark_sandbox::api::*;
use virtmark_sandbox::{Error, Gone};

use crate::{Bench, command, create, destroy, until};

#[test]
fn destroying_cuts_commands_and_happens_once() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    thread::scope(|scope| {
        let commands: Vec<_> =
            (0..4).map(|_| scope.spawn(|| service.exec(command(&id, "hold")).unwrap_err())).collect();
        thread::sleep(Duration::from_millis(50));
        let destroyers: Vec<_> = (0..8).map(|_| scope.spawn(|| destroy(&service, &id))).collect();
        let destroyed = destroyers.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(destroyed.filter(|destroyed| *destroyed).count(), 1);
        for command in commands {
            let error = command.join().unwrap();
            assert_eq!((error.code(), error.status()), ("sandbox_gone", 410), "{error}");
        }
    });
    let error = service.exec(command(&id, "true")).unwrap_err();
    assert!(matches!(error, Error::SandboxGone { reason: Gone::Asked, .. }));
    assert_eq!(service.inspect(&id).unwrap_err().code(), "sandbox_gone");
    let stranger = SandboxId::random().unwrap();
    assert_eq!(service.exec(command(&stranger, "true")).unwrap_err().status(), 404);
    assert!(!destroy(&service, &stranger));
    assert_eq!(service.metrics().destroyed.get("asked"), Some(&1));
}

#[test]
fn a_guest_that_panics_under_a_command_ends_its_sandbox() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    let error = service.exec(command(&id, "panic")).unwrap_err();
    // Whoever notices first, the command or the reaper, the reason is the same.
    assert!(error.to_string().contains("panicked"), "{error}");
    assert!(matches!(error.code(), "sandbox_failed" | "sandbox_gone"));
    assert_eq!((service.metrics().sandboxes, bench.world.alive()), (0, 0));
    assert_eq!(service.metrics().failed.get(&FailureClass::GuestPanic), Some(&1));
    assert!(service.list().sandboxes.is_empty());
}

#[test]
fn a_guest_that_hangs_is_told_of_and_left_alone() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    let error = service.exec(command(&id, "hang")).unwrap_err();
    assert_eq!((error.code(), error.status()), ("guest_timeout", 504));
    assert_eq!(service.exec(command(&id, "echo on")).unwrap().stdout, "on\n");
}

#[test]
fn a_machine_that_dies_unwatched_is_noticed() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let id = create(&service, StartKind::Template).unwrap().sandbox_id;
    let died = Instant::now();
    bench.world.body(id.as_str()).die();
    until("the notice of a death", || service.metrics().sandboxes == 0);
    assert!(died.elapsed() < Duration::from_secs(2));
    let error = service.exec(command(&id, "true")).unwrap_err();
    assert!(
        matches!(&error, Error::SandboxGone { reason: Gone::Failed { class, .. }, .. } if *class == FailureClass::GuestPanic),
        "{error}"
    );
}

#[test]
fn a_life_that_is_over_ends() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let request = CreateRequest { timeout_s: Some(1), start: Some(StartKind::Cold), ..Default::default() };
    let created = service.create(request).unwrap();
    assert_eq!(created.expires_at.duration_since(created.created_at).as_millis(), 1000);
    let lasting = create(&service, StartKind::Cold).unwrap();
    until("the end of a life", || service.metrics().destroyed.contains_key("expired"));
    let error = service.exec(command(&created.sandbox_id, "true")).unwrap_err();
    assert!(matches!(error, Error::SandboxGone { reason: Gone::Expired, .. }));
    assert_eq!(bench.world.names(), [lasting.sandbox_id.to_string()]);
}

#[test]
fn draining_waits_for_commands_until_its_deadline_and_then_cuts_them() {
    let bench = Bench::new();
    let service = bench.service(|options| options.warm = 1);
    until("a warm machine", || service.health().ready_warm == 1);
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    thread::scope(|scope| {
        let cut = scope.spawn(|| service.exec(command(&id, "hold")).unwrap_err());
        thread::sleep(Duration::from_millis(50));
        let began = Instant::now();
        let drain = scope.spawn(|| service.drain(Duration::from_millis(300)));
        until("the end of taking work", || service.health().status == HealthStatus::Draining);
        let refused = create(&service, StartKind::Cold).unwrap_err();
        assert_eq!((refused.code(), refused.status(), refused.retry_after_s()), ("draining", 503, Some(10)));
        assert_eq!(service.exec(command(&id, "true")).unwrap_err().code(), "draining");
        let error = cut.join().unwrap();
        assert!(matches!(error, Error::SandboxGone { reason: Gone::Shutdown, .. }), "{error}");
        assert!(began.elapsed() >= Duration::from_millis(300));
        drain.join().unwrap();
    });
    assert_eq!(bench.world.alive(), 0);
    assert_eq!((service.metrics().sandboxes, service.metrics().vcpus_committed), (0, 0));
    service.drain(Duration::from_secs(10));
}

#[test]
fn a_sandbox_that_starts_while_the_service_ends_does_not_outlive_it() {
    let bench = Bench::new();
    bench.world.boot_takes(300);
    let service = bench.service(|_| {});
    thread::scope(|scope| {
        let late = scope.spawn(|| create(&service, StartKind::Cold));
        until("the start of a machine", || bench.world.alive() == 1);
        service.drain(Duration::ZERO);
        assert_eq!(late.join().unwrap().unwrap_err().code(), "draining");
    });
    assert_eq!(bench.world.alive(), 0);
}

#[test]
fn dropping_the_service_ends_everything_and_frees_its_directory() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    create(&service, StartKind::Template).unwrap();
    let options = virtmark_sandbox::Options::new(bench.place.path().join("state"));
    let images = Arc::new(crate::fake::Pictures::default());
    let second = virtmark_sandbox::Service::open(bench.world.platform(), images, options).err().unwrap();
    assert_eq!(second.code(), "state_in_use");
    drop(service);
    assert_eq!(bench.world.alive(), 0);
    bench.service(|_| {});
}
