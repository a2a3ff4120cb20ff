//! The ends of sandboxes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use virtmark_host::process::{Spawn, live_children};
use virtmark_host::rundir::{Roots, RunDir};
use virtmark_hypervisor::Cancel;
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
        until("the commands", || bench.world.0.held.load(Ordering::SeqCst) == 4);
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
    bench.world.body(id.as_str()).die();
    until("the notice of a death", || service.metrics().sandboxes == 0);
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
        until("the command", || bench.world.0.held.load(Ordering::SeqCst) == 1);
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

/// Its guests never answer, and their machines are processes.
fn silent() -> (Bench, Arc<RunDir>) {
    let bench = Bench::new();
    let roots = Roots::new(bench.place.path().join("run"), [bench.place.path().join("bulk")]);
    let run_dir = Arc::new(RunDir::create_in(roots).unwrap());
    *bench.world.0.vmm.lock().unwrap() = Some(run_dir.clone());
    (bench, run_dir)
}

#[test]
fn the_end_of_the_service_waits_for_no_guest() {
    for start in [StartKind::Cold, StartKind::Template] {
        let (bench, run_dir) = silent();
        let service = bench.service(|_| {});
        thread::scope(|scope| {
            let late = scope.spawn(|| create(&service, start));
            until("a machine", || live_children().len() == 1);
            // Not one of the service's.
            let mut bystander = Spawn::new("bystander", "sleep");
            bystander.arg("60");
            let bystander = bystander.start(&run_dir).unwrap();
            let began = Instant::now();
            service.drain(Duration::from_millis(200));
            let took = began.elapsed();
            assert!(
                (Duration::from_millis(200)..Duration::from_secs(15)).contains(&took),
                "{start:?}: {took:?}"
            );
            assert_eq!(late.join().unwrap().unwrap_err().code(), "draining");
            let left: Vec<_> = live_children().into_iter().map(|child| child.name).collect();
            assert_eq!(left, ["bystander"], "{start:?}");
            bystander.kill();
            bystander.wait();
        });
        assert_eq!(bench.world.alive(), 0);
        assert!(service.metrics().failed.is_empty(), "{:?}", service.metrics().failed);
        assert!(bench.kept("templates").is_empty());
    }
}

#[test]
fn the_end_of_the_service_waits_for_no_warm_machine() {
    let (bench, _run_dir) = silent();
    let service = bench.service(|options| options.warm = 1);
    until("a machine", || live_children().len() == 1);
    let began = Instant::now();
    service.drain(Duration::ZERO);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!((bench.world.alive(), live_children().len(), service.metrics().warm_lost), (0, 0, 0));
}

#[test]
fn a_life_that_is_over_cannot_be_prolonged_by_keeping_busy() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let request = CreateRequest { timeout_s: Some(1), start: Some(StartKind::Cold), ..Default::default() };
    let id = service.create(request).unwrap().sandbox_id;
    bench.world.0.snapshots_wait.store(true, Ordering::SeqCst);
    let snapshot = || SnapshotCreateRequest { sandbox_id: id.clone(), name: "busy".parse().unwrap() };
    thread::scope(|scope| {
        let busy = scope.spawn(|| service.snapshot_create(snapshot()));
        until("a snapshot", || {
            service.inspect(&id).is_ok_and(|info| info.usage == Some(SandboxUsage::default()))
        });
        until("the end of a life", || service.inspect(&id).is_err());
        let refused = [
            service.snapshot_create(snapshot()).unwrap_err(),
            service.exec(command(&id, "true")).unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(error, Error::SandboxGone { reason: Gone::Expired, .. }), "{error}");
        }
        bench.world.0.snapshots_wait.store(false, Ordering::SeqCst);
        busy.join().unwrap().unwrap();
    });
    until("the end of a machine", || bench.world.alive() == 0);
}

#[test]
fn a_command_that_is_given_up_harms_no_other() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let id = create(&service, StartKind::Cold).unwrap().sandbox_id;
    let cancel = Cancel::new();
    thread::scope(|scope| {
        let given_up = scope.spawn(|| service.exec_unless(command(&id, "hold"), &cancel).unwrap_err());
        let held = scope.spawn(|| service.exec(command(&id, "hold")).unwrap_err());
        until("the commands", || bench.world.0.held.load(Ordering::SeqCst) == 2);
        cancel.cancel();
        assert_eq!(given_up.join().unwrap().code(), "client_gone");
        assert_eq!(service.exec(command(&id, "echo on")).unwrap().stdout, "on\n");
        assert!(!held.is_finished());
        destroy(&service, &id);
        assert_eq!(held.join().unwrap().code(), "sandbox_gone");
    });
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
