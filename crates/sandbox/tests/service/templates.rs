//! Templates: made once, again when they must be, and gone when nobody needs them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;

use virtmark_sandbox::api::*;
use virtmark_sandbox::{Options, Service};

use crate::fake::{Pictures, io};
use crate::{Bench, create, destroy};

#[test]
fn a_storm_boots_one_template() {
    let bench = Bench::new();
    bench.world.boot_takes(100);
    let service = bench.service(|_| {});
    let created: Vec<Created> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| create(&service, StartKind::Template).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((bench.world.boots(), bench.world.alive()), (1, 16));
    for created in created {
        assert_eq!(created.start, Start::Template);
        assert_eq!(created.phases.iter().map(|phase| phase.duration_ns).sum::<u64>(), created.duration_ns);
    }
    let later = create(&service, StartKind::Template).unwrap();
    assert!(!later.phases.iter().any(|phase| phase.name == "template"), "{later:?}");
    assert_eq!(service.metrics().templates_made, 1);
}

#[test]
fn those_who_wait_for_a_template_that_fails_hear_of_it_and_the_next_tries_again() {
    let bench = Bench::new();
    bench.world.boot_takes(100);
    bench.world.0.boot_faults.lock().unwrap().push(crate::fake::panicked("m"));
    let service = bench.service(|_| {});
    let codes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| create(&service, StartKind::Template).map(drop))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().map_err(|error| error.code())).collect()
    });
    assert!(codes.contains(&Err("create_failed")), "{codes:?}");
    create(&service, StartKind::Template).unwrap();
    assert_eq!(bench.kept("templates").len(), 1);
}

#[test]
fn a_template_survives_a_restart_unless_what_it_depends_on_has_changed() {
    let bench = Bench::new();
    drop(create(&bench.service(|_| {}), StartKind::Template).unwrap());
    drop(create(&bench.service(|_| {}), StartKind::Template).unwrap());
    assert_eq!(bench.world.boots(), 1);
    let with_arguments = |options: &mut Options| options.kernel_arguments = vec!["quiet".into()];
    drop(create(&bench.service(with_arguments), StartKind::Template).unwrap());
    assert_eq!((bench.world.boots(), bench.kept("templates").len()), (2, 2));

    let pictures = Arc::new(Pictures::default());
    let options = Options::new(bench.place.path().join("state"));
    let service = Service::open(bench.world.platform(), pictures.clone(), options.clone()).unwrap();
    *pictures.0.lock().unwrap() = "another".into();
    let user = create(&service, StartKind::Template).unwrap();
    assert_eq!(bench.world.boots(), 3);
    assert_eq!(bench.kept("templates").len(), 2, "the one of the earlier image was replaced");
    destroy(&service, &user.sandbox_id);
    drop(service);

    let upgraded = Arc::new(bench.world.platform_of_version("2"));
    let service = Service::open(upgraded, pictures, options).unwrap();
    create(&service, StartKind::Template).unwrap();
    assert_eq!((bench.world.boots(), bench.kept("templates").len()), (4, 2));
}

#[test]
fn a_replaced_template_stays_while_it_is_in_use() {
    let bench = Bench::new();
    let pictures = Arc::new(Pictures::default());
    let options = Options::new(bench.place.path().join("state"));
    let service = Service::open(bench.world.platform(), pictures.clone(), options).unwrap();
    let user = create(&service, StartKind::Template).unwrap();
    *pictures.0.lock().unwrap() = "another".into();
    create(&service, StartKind::Template).unwrap();
    assert_eq!(bench.kept("templates").len(), 2);
    destroy(&service, &user.sandbox_id);
    assert_eq!(bench.kept("templates").len(), 1);
}

#[test]
fn those_unused_the_longest_go_first() {
    let bench = Bench::new();
    let service = bench.service(|options| options.max_templates = 2);
    let of_size = |memory_mib| {
        let request = CreateRequest { memory_mib: Some(memory_mib), ..Default::default() };
        destroy(&service, &service.create(request).unwrap().sandbox_id);
    };
    [64, 65, 64, 66].into_iter().for_each(of_size);
    assert_eq!((bench.world.boots(), bench.kept("templates").len()), (3, 2));
    of_size(64);
    assert_eq!(bench.world.boots(), 3, "the one used last stayed");
    of_size(65);
    assert_eq!(bench.world.boots(), 4);
}

#[test]
fn a_damaged_template_is_made_anew_once() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    create(&service, StartKind::Template).unwrap();
    bench.world.0.restore_faults.lock().unwrap().push(io(ErrorKind::InvalidData));
    create(&service, StartKind::Template).unwrap();
    assert_eq!(service.metrics().templates_made, 2);
    bench
        .world
        .0
        .restore_faults
        .lock()
        .unwrap()
        .extend([io(ErrorKind::InvalidData), io(ErrorKind::InvalidData)]);
    assert_eq!(create(&service, StartKind::Template).unwrap_err().code(), "create_failed");
    drop(service);

    for template in bench.kept("templates") {
        std::fs::write(template.join("meta.json"), "{}").unwrap();
    }
    std::fs::create_dir_all(bench.place.path().join("state/templates/killed/machine")).unwrap();
    let service = bench.service(|_| {});
    assert_eq!(bench.kept("templates").len(), 0);
    create(&service, StartKind::Template).unwrap();
}
