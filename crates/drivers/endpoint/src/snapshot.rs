//! Snapshots are the service's; here a directory with one small file stands for each.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use virtmark_hypervisor::{Error, Result, Snapshot, allocated_bytes};
use virtmark_model::Timeline;

use crate::mapping::Operation;
use crate::mapping::answer::SnapshotAnswer;
use crate::mapping::template::{Placeholder, Values};
use crate::service::{Service, Task, only, plain};
use crate::start::nanoseconds;
use crate::times::{Reported, timeline};

/// The file in a snapshot's directory.
const FILE: &str = "snapshot.json";

/// What is in it.
#[derive(Debug, Serialize, Deserialize)]
struct Reference {
    /// The service, without its token.
    url: String,
    /// Its name for the snapshot.
    snapshot_id: Value,
}

/// Has the service take one. The directory is made first: one that cannot be made costs no snapshot.
pub(crate) fn take(
    service: &Service,
    operation: &Operation<SnapshotAnswer>,
    machine: &str,
    sandbox_id: &Value,
    directory: &Path,
) -> Result<(Snapshot, Timeline)> {
    let started = Instant::now();
    fs::create_dir(directory).map_err(Error::io(format!("create {}", directory.display())))?;
    let taken = ask(service, operation, machine, sandbox_id, directory, started);
    if taken.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_dir_all(directory);
    }
    taken
}

fn ask(
    service: &Service,
    operation: &Operation<SnapshotAnswer>,
    machine: &str,
    sandbox_id: &Value,
    directory: &Path,
    started: Instant,
) -> Result<(Snapshot, Timeline)> {
    let name = directory.file_name().map_or(machine.into(), |name| name.to_string_lossy().into_owned());
    let mut values = only(Placeholder::SandboxId, sandbox_id);
    values.insert(Placeholder::Name, Value::from(name));
    let answer = service.json(&Task {
        request: &operation.request,
        values: &values,
        action: format!("take a snapshot of {machine}"),
        machine,
        timeout: service.timeout,
        repeatable: false,
        leftover: Some("the service may have taken a snapshot all the same: look there, and delete it"),
    })?;
    let fields = &operation.answer;
    let snapshot_id = answer.id(&fields.snapshot_id)?;
    let reference = Reference { url: service.client.base().into(), snapshot_id: snapshot_id.clone() };
    write(&reference, directory).inspect_err(|_| {
        // Nobody would know of it.
        let _ = delete(service, &snapshot_id);
    })?;
    let said = fields.disk_bytes.as_ref().and_then(|at| at.find(&answer.value)?.as_u64());
    let disk_bytes = match said {
        Some(bytes) => bytes,
        None => {
            service.notes.add("the service does not say what a snapshot takes on disk; only the file that stands for it here is counted");
            allocated_bytes(directory).map_err(Error::io(format!("measure {}", directory.display())))?
        }
    };
    let reported = Reported {
        duration_ns: fields.duration.as_ref().and_then(|duration| duration.ns(&answer.value)),
        phases: fields.phases.as_ref().and_then(|phases| phases.read(&answer.value)).unwrap_or_default(),
    };
    let (timeline, note) = timeline(nanoseconds(started.elapsed()), reported, "snapshot");
    if let Some(note) = note {
        service.notes.add(note);
    }
    Ok((Snapshot { directory: directory.into(), disk_bytes }, timeline))
}

fn write(reference: &Reference, directory: &Path) -> Result<()> {
    let path = directory.join(FILE);
    let write = || format!("write {}", path.display());
    let text = serde_json::to_vec_pretty(reference).map_err(|error| Error::io(write())(error.into()))?;
    fs::write(&path, text).map_err(Error::io(write()))
}

/// The service's name for a snapshot that it took.
pub(crate) fn id(service: &Service, snapshot: &Snapshot) -> Result<Value> {
    let path = snapshot.directory.join(FILE);
    let read = || format!("read the snapshot {}", path.display());
    let text = fs::read(&path).map_err(Error::io(read()))?;
    let reference: Reference =
        serde_json::from_slice(&text).map_err(|error| Error::io(read())(error.into()))?;
    if reference.url != service.client.base() {
        return Err(Error::io(read())(std::io::Error::other(format!(
            "it is at {}, and not at {}",
            reference.url,
            service.client.base()
        ))));
    }
    Ok(reference.snapshot_id)
}

/// Deletes it there, then the directory here, so that a failure can be repeated.
pub(crate) fn discard(service: &Service, snapshot: &Snapshot) -> Result<()> {
    delete(service, &id(service, snapshot)?)?;
    fs::remove_dir_all(&snapshot.directory)
        .map_err(Error::io(format!("remove the snapshot {}", snapshot.directory.display())))
}

fn delete(service: &Service, id: &Value) -> Result<()> {
    // A mapping that can take snapshots can delete them.
    let Some(operation) = &service.mapping.snapshot_delete else { return Ok(()) };
    let values: Values = only(Placeholder::SnapshotId, id);
    service.gone(&Task {
        request: &operation.request,
        values: &values,
        action: format!("delete the snapshot {}", plain(id)),
        machine: &service.mapping.provider,
        timeout: service.timeout,
        repeatable: true,
        leftover: None,
    })
}
