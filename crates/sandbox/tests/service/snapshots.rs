//! Snapshots of clients.

use std::io::ErrorKind;

use virtmark_sandbox::Service;
use virtmark_sandbox::api::*;

use crate::fake::io;
use crate::{Bench, command, create, destroy};

fn take(service: &Service, id: &SandboxId) -> virtmark_sandbox::Result<SnapshotCreated> {
    service.snapshot_create(SnapshotCreateRequest { sandbox_id: id.clone(), name: "s".parse().unwrap() })
}

fn restore(service: &Service, id: &SnapshotId) -> virtmark_sandbox::Result<Created> {
    let (env, metadata) = (Env::default(), Metadata::default());
    service.snapshot_restore(RestoreRequest { snapshot_id: id.clone(), env, timeout_s: None, metadata })
}

fn delete(service: &Service, id: &SnapshotId) -> virtmark_sandbox::Result<(bool, bool)> {
    let deleted = service.snapshot_delete(SnapshotDeleteRequest { snapshot_id: id.clone() })?;
    Ok((deleted.deleted, deleted.deferred))
}

#[test]
fn a_snapshot_survives_its_sandbox_and_its_service() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let request = CreateRequest { memory_mib: Some(200), start: Some(StartKind::Cold), ..Default::default() };
    let source = service.create(request).unwrap();
    let taken = take(&service, &source.sandbox_id).unwrap();
    let names: Vec<_> = taken.phases.iter().map(|phase| phase.name.as_ref()).collect();
    assert_eq!(names, ["admit", "pause", "save", "resume", "seal"]);
    assert_eq!(taken.phases.iter().map(|phase| phase.duration_ns).sum::<u64>(), taken.duration_ns);
    drop(service);

    let service = bench.service(|_| {});
    let restored = restore(&service, &taken.snapshot_id).unwrap();
    assert_eq!((restored.start, restored.memory_mib), (Start::Snapshot, 200));
    let listed = &service.snapshot_list().snapshots[..];
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].in_use_by, [restored.sandbox_id]);
    assert_eq!(listed[0].created_at, taken.created_at);
}

#[test]
fn there_are_only_so_many() {
    let bench = Bench::new();
    let service = bench.service(|options| options.max_snapshots = 2);
    let source = create(&service, StartKind::Cold).unwrap();
    let taken = [take(&service, &source.sandbox_id).unwrap(), take(&service, &source.sandbox_id).unwrap()];
    let error = take(&service, &source.sandbox_id).unwrap_err();
    assert_eq!((error.code(), error.status()), ("limit_reached", 429));
    assert_eq!(error.to_string(), "there are 2 snapshots already, which is the limit");
    assert_eq!(bench.kept("snapshots").len(), 2);
    delete(&service, &taken[0].snapshot_id).unwrap();
    take(&service, &source.sandbox_id).unwrap();
}

#[test]
fn deleting_one_in_use_waits_for_the_last_user() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let source = create(&service, StartKind::Cold).unwrap();
    let id = take(&service, &source.sandbox_id).unwrap().snapshot_id;
    let users = [restore(&service, &id).unwrap(), restore(&service, &id).unwrap()];
    assert_eq!(delete(&service, &id).unwrap(), (false, true));
    assert_eq!(restore(&service, &id).unwrap_err().code(), "snapshot_unknown");
    assert_eq!(delete(&service, &id).unwrap_err().code(), "snapshot_unknown");
    assert!(service.snapshot_list().snapshots.is_empty());
    destroy(&service, &users[0].sandbox_id);
    assert_eq!(bench.kept("snapshots").len(), 1);
    destroy(&service, &users[1].sandbox_id);
    assert_eq!(bench.kept("snapshots").len(), 0);

    let unused = take(&service, &source.sandbox_id).unwrap().snapshot_id;
    assert_eq!(delete(&service, &unused).unwrap(), (true, false));
    assert_eq!(bench.kept("snapshots").len(), 0);
}

#[test]
fn a_deferred_deletion_and_a_killed_snapshot_leave_nothing_that_opens() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let source = create(&service, StartKind::Cold).unwrap();
    let deferred = take(&service, &source.sandbox_id).unwrap().snapshot_id;
    restore(&service, &deferred).unwrap();
    delete(&service, &deferred).unwrap();
    let kept = take(&service, &source.sandbox_id).unwrap().snapshot_id;
    let state = bench.place.path().join("state/snapshots");
    // As after SIGKILL: the deferred one is still there, and another was in the making.
    let copy = bench.place.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::rename(state.join(deferred.as_str()), copy.join("deferred")).unwrap();
    drop(service);
    std::fs::rename(copy.join("deferred"), state.join(deferred.as_str())).unwrap();
    let killed = state.join(SnapshotId::random().unwrap().as_str());
    std::fs::create_dir_all(killed.join("machine")).unwrap();
    std::fs::write(killed.join("meta.json.partial"), "{").unwrap();

    let service = bench.service(|_| {});
    assert_eq!(bench.kept("snapshots"), [state.join(kept.as_str())]);
    assert_eq!(restore(&service, &deferred).unwrap_err().code(), "snapshot_unknown");
    restore(&service, &kept).unwrap();
}

#[test]
fn a_damaged_one_is_refused_and_can_be_deleted() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let source = create(&service, StartKind::Cold).unwrap();
    let id = take(&service, &source.sandbox_id).unwrap().snapshot_id;
    for (kind, code, status) in [
        (ErrorKind::InvalidData, "snapshot_damaged", 409),
        (ErrorKind::InvalidInput, "snapshot_unfit", 409),
        (ErrorKind::StorageFull, "storage_full", 507),
    ] {
        bench.world.0.restore_faults.lock().unwrap().push(io(kind));
        let error = restore(&service, &id).unwrap_err();
        assert_eq!((error.code(), error.status()), (code, status));
    }
    drop(service);
    let meta = bench.place.path().join("state/snapshots").join(id.as_str()).join("meta.json");
    let text = std::fs::read_to_string(&meta).unwrap().replace("\"vcpus\": 1", "\"vcpus\": 2");
    std::fs::write(&meta, text).unwrap();
    let service = bench.service(|_| {});
    assert_eq!(restore(&service, &id).unwrap_err().code(), "snapshot_damaged");
    assert!(service.snapshot_list().snapshots.is_empty());
    assert_eq!(delete(&service, &id).unwrap(), (true, false));
    assert_eq!(bench.kept("snapshots").len(), 0);
}

#[test]
fn a_full_disk_leaves_the_sandbox_and_no_files() {
    let bench = Bench::new();
    let service = bench.service(|_| {});
    let source = create(&service, StartKind::Cold).unwrap();
    bench.world.0.snapshot_faults.lock().unwrap().push(io(ErrorKind::StorageFull));
    let error = take(&service, &source.sandbox_id).unwrap_err();
    assert_eq!((error.code(), error.status()), ("storage_full", 507));
    assert_eq!(bench.kept("snapshots").len(), 0);
    assert_eq!(service.exec(command(&source.sandbox_id, "echo on")).unwrap().stdout, "on\n");
    take(&service, &source.sandbox_id).unwrap();
}
