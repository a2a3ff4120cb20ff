//! Machines that wait.

use virtmark_sandbox::api::*;

use crate::{Bench, create, destroy, until};

#[test]
fn the_pool_hands_out_and_is_filled_again() {
    let bench = Bench::new();
    let service = bench.service(|options| options.warm = 2);
    until("a full pool", || service.health().ready_warm == 2);
    assert_eq!(service.metrics().vcpus_committed, 2);
    assert_eq!(service.metrics().sandboxes, 0, "a machine that waits is no sandbox");
    let created = create(&service, StartKind::Warm).unwrap();
    assert_eq!(created.start, Start::Warm);
    let names: Vec<_> = created.phases.iter().map(|phase| phase.name.as_ref()).collect();
    assert_eq!(names, ["admit", "resume", "identity", "register"]);
    let given = |id: &SandboxId| {
        bench.world.0.identities.lock().unwrap().iter().filter(|name| *name == id.as_str()).count()
    };
    assert_eq!(given(&created.sandbox_id), 2, "made its own when restored, and again when handed out");
    until("a full pool", || service.health().ready_warm == 2);
    let other_size =
        CreateRequest { memory_mib: Some(64), start: Some(StartKind::Warm), ..Default::default() };
    assert_eq!(service.create(other_size).unwrap().start, Start::Template);
    assert_eq!((service.metrics().sandboxes, service.metrics().vcpus_committed), (2, 4));
}

#[test]
fn an_empty_pool_is_no_reason_to_wait() {
    let bench = Bench::new();
    let service = bench.service(|options| options.start = StartKind::Warm);
    assert_eq!(create(&service, StartKind::Warm).unwrap().start, Start::Template);
}

#[test]
fn one_that_died_is_replaced_and_never_handed_out() {
    let bench = Bench::new();
    let service = bench.service(|options| options.warm = 1);
    until("a full pool", || service.health().ready_warm == 1);
    let names = bench.world.names();
    bench.world.body(&names[0]).die();
    let created = create(&service, StartKind::Warm).unwrap();
    assert_ne!(created.sandbox_id.as_str(), names[0]);
    until("a replacement", || service.health().ready_warm == 1);
    assert_eq!(service.metrics().warm_lost, 1);

    let sandbox = created.sandbox_id.as_str();
    let waiting = bench.world.names().into_iter().find(|name| name != sandbox).unwrap();
    bench.world.body(&waiting).die();
    until("the loss to be noticed", || service.metrics().warm_lost == 2);
    until("a replacement", || service.health().ready_warm == 1);
    assert!(!bench.world.names().contains(&waiting));
}

#[test]
fn those_that_wait_make_room_for_clients() {
    let bench = Bench::new();
    let service = bench.service(|options| {
        options.warm = 2;
        options.total_vcpus = 2;
    });
    until("a full pool", || service.health().ready_warm == 2);
    let first = create(&service, StartKind::Cold).unwrap();
    create(&service, StartKind::Cold).unwrap();
    assert_eq!(service.health().ready_warm, 0);
    let error = create(&service, StartKind::Cold).unwrap_err();
    assert_eq!(error.code(), "capacity");
    destroy(&service, &first.sandbox_id);
    until("a warm machine in the room that is free", || service.health().ready_warm == 1);
}

#[test]
fn those_made_for_an_earlier_image_are_given_up() {
    let bench = Bench::new();
    let pictures = std::sync::Arc::new(crate::fake::Pictures::default());
    let options = virtmark_sandbox::Options {
        warm: 1,
        ..virtmark_sandbox::Options::new(bench.place.path().join("state"))
    };
    let service = virtmark_sandbox::Service::open(bench.world.platform(), pictures.clone(), options).unwrap();
    until("a full pool", || service.health().ready_warm == 1);
    let stale = bench.world.names();
    *pictures.0.lock().unwrap() = "another".into();
    until("a machine of the new image", || {
        service.health().ready_warm == 1 && !bench.world.names().contains(&stale[0])
    });
    assert_eq!(service.metrics().warm_lost, 0);
}
