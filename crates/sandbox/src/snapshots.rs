//! The snapshots that clients took.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Hypervisor, Snapshot};

use crate::api::{ImageName, SnapshotId, SnapshotName};
use crate::kept::{self, Kept};
use crate::shape::Shape;
use crate::{Error, Notice, Result};

/// Version of the record.
const FORMAT: u32 = 1;

/// What is known of a snapshot: the content of its `meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    pub(crate) id: SnapshotId,
    pub(crate) name: SnapshotName,
    pub(crate) created_at: Timestamp,
    pub(crate) disk_bytes: u64,
    /// As its sandbox's client asked for it; the default image when absent.
    pub(crate) image_name: Option<ImageName>,
    /// The image's own name.
    pub(crate) image: String,
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    pub(crate) disk_mib: u64,
}

impl Record {
    pub(crate) fn new(id: SnapshotId, name: SnapshotName, shape: &Shape, snapshot: &Snapshot) -> Self {
        Self {
            format: FORMAT,
            id,
            name,
            created_at: Timestamp::now(),
            disk_bytes: snapshot.disk_bytes,
            image_name: shape.image_name.clone(),
            image: shape.image.facts.name.clone(),
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            disk_mib: shape.disk_mib,
        }
    }
}

/// The snapshots of a service.
pub(crate) struct Snapshots {
    directory: PathBuf,
    hypervisor: Arc<dyn Hypervisor>,
    limit: usize,
    entries: Mutex<BTreeMap<SnapshotId, Entry>>,
}

enum Entry {
    /// What is wrong with it.
    Damaged(String),
    /// It has a place, and is nothing to a client yet.
    Making,
    Whole(Record, Arc<Kept>),
}

impl Snapshots {
    /// Those that earlier services left. What is not whole is removed; what is damaged stays, and says so.
    pub(crate) fn open(
        directory: PathBuf,
        hypervisor: &Arc<dyn Hypervisor>,
        limit: usize,
        notice: &Notice,
    ) -> Result<Self> {
        let mut entries = BTreeMap::new();
        for (name, path) in kept::whole_ones(&directory)? {
            let Ok(id) = name.parse::<SnapshotId>() else { continue };
            let entry = match Kept::open(path, |record: &Record| record.disk_bytes, hypervisor) {
                Ok((kept, record)) if record.id == id && record.format == FORMAT => {
                    Entry::Whole(record, Arc::new(kept))
                }
                Ok((_, record)) => Entry::Damaged(format!(
                    "its record is of {} in format {}, this virtmark reads format {FORMAT}",
                    record.id, record.format
                )),
                Err(reason) => Entry::Damaged(reason),
            };
            if let Entry::Damaged(reason) = &entry {
                notice.tell(&format!("the snapshot {id} is damaged: {reason}"));
            }
            entries.insert(id, entry);
        }
        Ok(Self { directory, hypervisor: Arc::clone(hypervisor), limit, entries: Mutex::new(entries) })
    }

    /// Keeps a new one; `write` has the platform write its part.
    pub(crate) fn make(
        &self,
        id: SnapshotId,
        write: impl FnOnce(&Path) -> Result<(Snapshot, Record)>,
    ) -> Result<Record> {
        {
            let mut entries = self.lock();
            if entries.len() >= self.limit {
                return Err(Error::LimitReached { what: "snapshots", limit: self.limit as u64 });
            }
            entries.insert(id.clone(), Entry::Making);
        }
        let place = Place { snapshots: self, id: &id };
        let (kept, record) = Kept::make(self.directory.join(id.as_str()), &self.hypervisor, write)?;
        drop(place);
        self.lock().insert(id, Entry::Whole(record.clone(), Arc::new(kept)));
        Ok(record)
    }

    /// One that can be restored, held for as long as the handle lives.
    pub(crate) fn find(&self, id: &SnapshotId) -> Result<(Record, Arc<Kept>)> {
        match self.lock().get(id) {
            None | Some(Entry::Making) => Err(Error::SnapshotUnknown(id.clone())),
            Some(Entry::Damaged(reason)) => {
                Err(Error::SnapshotDamaged { snapshot: id.clone(), reason: reason.clone() })
            }
            Some(Entry::Whole(record, kept)) => Ok((record.clone(), Arc::clone(kept))),
        }
    }

    /// Those that can be restored, in the order of their ids.
    pub(crate) fn list(&self) -> Vec<Record> {
        let whole = |entry: &Entry| match entry {
            Entry::Damaged(_) | Entry::Making => None,
            Entry::Whole(record, _) => Some(record.clone()),
        };
        self.lock().values().filter_map(whole).collect()
    }

    /// Nobody can restore it from now on. Gives whether its files are gone: otherwise they go with the last who uses
    /// them.
    pub(crate) fn delete(&self, id: &SnapshotId) -> Result<bool> {
        let entry = {
            let mut entries = self.lock();
            match entries.get(id) {
                None | Some(Entry::Making) => None,
                Some(Entry::Damaged(_) | Entry::Whole(..)) => entries.remove(id),
            }
        };
        match entry {
            None | Some(Entry::Making) => Err(Error::SnapshotUnknown(id.clone())),
            Some(Entry::Damaged(_)) => kept::remove(&self.directory.join(id.as_str())).map(|()| true),
            Some(Entry::Whole(_, kept)) => kept.doom(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SnapshotId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a snapshot in the making, free again on every way out.
struct Place<'a> {
    snapshots: &'a Snapshots,
    id: &'a SnapshotId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.snapshots.lock().remove(self.id);
    }
}
