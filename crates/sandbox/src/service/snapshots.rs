//! Snapshots of sandboxes.

use std::time::Instant;

use virtmark_hypervisor::{Error as PlatformError, MachineState};
use virtmark_model::{FailureClass, Stopwatch};

use super::Core;
use crate::api::{
    SnapshotCreateRequest, SnapshotCreated, SnapshotDeleted, SnapshotId, SnapshotInfo, SnapshotList,
};
use crate::gate::Work;
use crate::sandbox::gone;
use crate::snapshots::Record;
use crate::{Error, Gone, Result};

impl Core {
    pub(super) fn snapshot_create(&self, request: SnapshotCreateRequest) -> Result<SnapshotCreated> {
        let mut watch = Stopwatch::start();
        let _pass = self.gate.enter(Work::Use)?;
        let sandbox = self.sandbox(&request.sandbox_id)?;
        let id = SnapshotId::random().map_err(Error::internal("draw random numbers for an id"))?;
        let mut holdings = sandbox.holdings();
        let Some(held) = &mut *holdings else {
            return Err(gone(sandbox.id(), &sandbox.end().unwrap_or(Gone::Asked)));
        };
        watch.mark("admit");
        let mut fatal = None;
        let made = self.snapshots.make(id.clone(), |directory| {
            let called = Instant::now();
            let (snapshot, timeline) = held.machine.snapshot(directory).map_err(|error| {
                let error = held.machine.explain(error);
                if held.machine.state() != MachineState::Running {
                    fatal = Some((error.class(), error.to_string()));
                }
                of_snapshot(&error)
            })?;
            watch.append(timeline, called);
            let record = Record::new(id, request.name, &sandbox.shape, &snapshot);
            Ok((snapshot, record))
        });
        drop(holdings);
        if let Some((class, message)) = fatal {
            // A machine that did not survive the attempt is no sandbox any more.
            self.end(&sandbox, Gone::Failed { class, message: message.clone() });
            return Err(Error::SandboxFailed { sandbox: sandbox.id().clone(), class, message });
        }
        let record = made?;
        watch.mark("seal");
        let timeline = watch.finish();
        Ok(SnapshotCreated {
            snapshot_id: record.id,
            name: record.name,
            created_at: record.created_at,
            disk_bytes: record.disk_bytes,
            duration_ns: timeline.total_ns(),
            phases: timeline.phases,
        })
    }

    pub(super) fn snapshot_list(&self) -> SnapshotList {
        let users: Vec<_> = {
            let house = self.house();
            let sandboxes = house.sandboxes.values();
            sandboxes.filter_map(|sandbox| Some((sandbox.snapshot.clone()?, sandbox.id().clone()))).collect()
        };
        let info = |record: Record| SnapshotInfo {
            in_use_by: users
                .iter()
                .filter(|(snapshot, _)| *snapshot == record.id)
                .map(|(_, user)| user.clone())
                .collect(),
            snapshot_id: record.id,
            name: record.name,
            created_at: record.created_at,
            disk_bytes: record.disk_bytes,
            image: record.image,
            vcpus: record.vcpus,
            memory_mib: record.memory_mib,
        };
        SnapshotList { snapshots: self.snapshots.list().into_iter().map(info).collect() }
    }

    pub(super) fn snapshot_delete(&self, id: SnapshotId) -> Result<SnapshotDeleted> {
        let deleted = self.snapshots.delete(&id)?;
        Ok(SnapshotDeleted { snapshot_id: id, deleted, deferred: !deleted })
    }
}

/// The failure of a snapshot whose sandbox goes on.
fn of_snapshot(error: &PlatformError) -> Error {
    match (error.class(), error.to_string()) {
        (FailureClass::DiskFull, message) => Error::StorageFull { message },
        (FailureClass::Unsupported, message) => Error::Unsupported { message },
        (class @ FailureClass::Timeout, message) => Error::GuestTimeout { class, message },
        (_, reason) => Error::Internal { action: "take a snapshot".into(), reason },
    }
}
