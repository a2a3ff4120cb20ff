//! What sandboxes that have settled cost: memory, and the time that they stand still for a snapshot.

use std::time::Duration;

use virtmark_sandbox::api::{SandboxId, SnapshotCreateRequest, SnapshotDeleteRequest, StartKind};

use crate::Result;
use crate::place::Place;
use crate::verdict::{Verdict, few};

const MEMORY_LIMIT_MB: f64 = 60.0;
const PAUSE_LIMIT_MS: f64 = 300.0;

/// Restored sandboxes that wait beside each other, and how long, before their memory is looked at.
const IDLE_SANDBOXES: usize = 5;
const IDLE_TIME: Duration = Duration::from_secs(2);

const SNAPSHOTS: usize = 7;
const SNAPSHOT_MEMORY_MIB: u64 = 256;
/// Leaves a guest of that size little that it has not written, with content that nothing can shorten.
const FILL: &str = "dd if=/dev/urandom of=/tmp/fill bs=1M count=96 2>/dev/null";

/// The phases in which a guest stands still.
const STANDSTILL: [&str; 3] = ["pause", "save", "resume"];

/// Private memory of restored sandboxes that have run one command and then nothing.
pub(crate) fn idle_memory(place: &Place) -> Result<Verdict> {
    let mut ids = Vec::new();
    for _ in 0..IDLE_SANDBOXES {
        let created = place.create(StartKind::Template, None)?;
        place.exec(&created.sandbox_id, "true")?;
        ids.push(created.sandbox_id);
    }
    std::thread::sleep(IDLE_TIME);
    let private_mb = |id: &SandboxId| -> Result<f64> {
        let usage = place.service.inspect(id)?.usage.ok_or("the service does not say what a sandbox uses")?;
        Ok(usage.private_bytes.ok_or("this host does not say how much memory is private")? as f64 / 1e6)
    };
    let megabytes: Vec<f64> = ids.iter().map(private_mb).collect::<Result<_>>()?;
    ids.into_iter().try_for_each(|id| place.destroy(id))?;
    let (median, range) = few(&megabytes)?;
    Ok(Verdict::below("private memory, restored and idle", "MB", median, range, MEMORY_LIMIT_MB))
}

/// How long guests of 256 MB stand still: as they have booted, and with most of their memory written.
pub(crate) fn snapshot_pauses(place: &Place) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for (what, command) in [
        ("guest pause of a 256 MB snapshot, idle guest", "true"),
        ("guest pause of a 256 MB snapshot, 96 MB filled", FILL),
    ] {
        let mut pauses_ms = Vec::new();
        for _ in 0..SNAPSHOTS {
            // Booted, so that all of its memory is its own, as it is after a long life.
            let created = place.create(StartKind::Cold, Some(SNAPSHOT_MEMORY_MIB))?;
            place.exec(&created.sandbox_id, command)?;
            let request =
                SnapshotCreateRequest { sandbox_id: created.sandbox_id.clone(), name: "pause".parse()? };
            let snapshot = place.service.snapshot_create(request)?;
            pauses_ms.push(standstill_ms(&snapshot.phases)?);
            place.destroy(created.sandbox_id)?;
            place.service.snapshot_delete(SnapshotDeleteRequest { snapshot_id: snapshot.snapshot_id })?;
        }
        let (median, range) = few(&pauses_ms)?;
        verdicts.push(Verdict::below(what, "ms", median, range, PAUSE_LIMIT_MS));
    }
    Ok(verdicts)
}

fn standstill_ms(phases: &[virtmark_model::Phase]) -> Result<f64> {
    let mut sum_ns = 0;
    for name in STANDSTILL {
        let phase = phases.iter().find(|phase| phase.name == name);
        sum_ns += phase.ok_or_else(|| format!("the snapshot's phases lack {name}: {phases:?}"))?.duration_ns;
    }
    Ok(sum_ns as f64 / 1e6)
}
