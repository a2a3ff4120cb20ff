//! Taking samples out once each, for export: a cursor says how far, and its file survives a crash.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::bytes::{ByteReader, put_u32, put_u64};
use crate::commit::{self, Commit};
use crate::error::Error;
use crate::files;
use crate::header::StoreId;
use crate::layout::{COMMIT_BYTES, Ring};
use crate::options::MAX_SCHEMAS;
use crate::reader::Reader;
use crate::summary::Summary;

/// How far a store was drained: for each schema, the first tick of its drained tier that was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    store: StoreId,
    tier: u32,
    next: Vec<u64>,
}

/// One slot that was drained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drained {
    /// Place of the series in [`Reader::series`].
    pub series: usize,
    /// Start of the slot, nanoseconds since 1970.
    pub time_ns: u64,
    /// What it holds.
    pub summary: Summary,
}

/// What one step of draining gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Slots in the order of time; those of one time in the order of registration.
    pub slots: Vec<Drained>,
    /// The cursor to save once the slots have arrived where they go.
    pub next: Cursor,
    /// Ticks that were pushed out of the ring before they were drained, whether or not they held anything.
    pub missed_ticks: u64,
    /// Whether there was more than fits the batch.
    pub more: bool,
}

impl Reader {
    /// A cursor from which a tier is drained from its oldest slot on.
    ///
    /// Schemas with fewer tiers are drained at their coarsest.
    #[must_use]
    pub fn cursor(&self, tier: usize) -> Cursor {
        Cursor { store: self.store, tier: tier as u32, next: vec![0; self.map.layout.schemas.len()] }
    }

    /// Takes the slots after a cursor, `max_slots` or somewhat more: slots of one time stay together.
    ///
    /// A slot is given once it is `settle_ticks` ticks older than the newest, one or more, so that it is full; a
    /// sample that comes into it later is not given. Draining changes nothing in the store: the cursor that comes
    /// with the slots is saved, with [`CursorFile::save`], when they have arrived, and the next step starts there.
    /// After a crash in between the same slots come again, as the same points; a consumer that takes equal points
    /// of one time once, as Prometheus does, then has each once.
    ///
    /// # Errors
    ///
    /// [`Error::CursorOfAnotherStore`].
    pub fn drain(&self, cursor: &Cursor, settle_ticks: u64, max_slots: usize) -> Result<Batch, Error> {
        let schemas = self.map.layout.schemas.len();
        if cursor.store != self.store || cursor.next.len() != schemas {
            return Err(Error::CursorOfAnotherStore { path: self.map.directory.clone() });
        }
        let mut next = cursor.clone();
        let (mut slots, mut missed_ticks) = (Vec::new(), 0);
        let Some(newest_ns) = self.newest_ns() else {
            return Ok(Batch { slots, next, missed_ticks, more: false });
        };
        // Before the oldest time there is nothing to miss.
        let oldest_ns = self.oldest_ns().unwrap_or_default();
        for (schema, next) in next.next.iter_mut().enumerate() {
            let ring = self.drained_ring(schema, cursor.tier);
            let oldest = ring.oldest_tick(newest_ns);
            missed_ticks += oldest.saturating_sub((*next).max(ring.tick(oldest_ns)));
            *next = (*next).max(oldest).max(ring.tick(oldest_ns).min(ring.tick(newest_ns)));
        }
        loop {
            let due = |(schema, tick): (usize, &u64)| {
                let ring = self.drained_ring(schema, cursor.tier);
                let settled = tick.saturating_add(settle_ticks.max(1)) <= ring.tick(newest_ns);
                settled.then(|| (tick * ring.step_ns, schema, *tick))
            };
            let Some((time_ns, schema, tick)) = next.next.iter().enumerate().filter_map(due).min() else {
                return Ok(Batch { slots, next, missed_ticks, more: false });
            };
            if slots.len() >= max_slots.max(1) {
                return Ok(Batch { slots, next, missed_ticks, more: true });
            }
            let tier = self.drained_tier(schema, cursor.tier);
            for (series, entry) in self.series().iter().enumerate() {
                if entry.schema() == schema
                    && let Some(summary) = self.map.summary(entry.series, tier, tick)
                {
                    slots.push(Drained { series, time_ns, summary });
                }
            }
            next.next[schema] = tick + 1;
        }
    }

    fn drained_tier(&self, schema: usize, tier: u32) -> usize {
        (tier as usize).min(self.map.layout.schemas[schema].rings.len() - 1)
    }

    fn drained_ring(&self, schema: usize, tier: u32) -> &Ring {
        &self.map.layout.schemas[schema].rings[self.drained_tier(schema, tier)]
    }
}

/// Where a consumer keeps its cursor: a file of 8 KiB of its own, outside the store.
#[derive(Debug)]
pub struct CursorFile {
    file: File,
    path: PathBuf,
    sequence: u64,
}

impl CursorFile {
    /// Opens or makes the file, and gives the cursor that was saved last, if one was.
    ///
    /// # Errors
    ///
    /// The file cannot be made, read or written, or is damaged.
    pub fn open(path: &Path) -> Result<(Self, Option<Cursor>), Error> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                files::make(path, COMMIT_BYTES, &[])?
            }
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let length = file.metadata().map_err(|error| Error::io("open", path, error))?.len();
        if length != COMMIT_BYTES {
            return Err(Error::damaged(path, format!("it has {length} bytes, and a cursor {COMMIT_BYTES}")));
        }
        let commit = commit::load(&file, path)?;
        let sequence = commit.as_ref().map_or(0, |commit| commit.sequence);
        let cursor = commit.map(|commit| {
            decode(&commit.contents).ok_or_else(|| Error::damaged(path, "its record is not that of a cursor"))
        });
        Ok((Self { file, path: path.to_owned(), sequence }, cursor.transpose()?))
    }

    /// Replaces the saved cursor and waits until it is on disk; a crash leaves the one before or this one.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&mut self, cursor: &Cursor) -> Result<(), Error> {
        let next = Commit { sequence: self.sequence + 1, contents: encode(cursor) };
        commit::save(&self.file, &self.path, &next)?;
        self.sequence = next.sequence;
        Ok(())
    }
}

fn encode(cursor: &Cursor) -> Vec<u8> {
    let mut contents = Vec::from(cursor.store);
    put_u32(&mut contents, cursor.tier);
    put_u32(&mut contents, cursor.next.len() as u32);
    cursor.next.iter().for_each(|tick| put_u64(&mut contents, *tick));
    contents
}

fn decode(contents: &[u8]) -> Option<Cursor> {
    let mut reader = ByteReader::new(contents);
    let store = reader.array()?;
    let tier = reader.u32()?;
    let count = reader.u32()? as usize;
    if count > MAX_SCHEMAS {
        return None;
    }
    let next = (0..count).map(|_| reader.u64()).collect::<Option<_>>()?;
    reader.is_empty().then_some(Cursor { store, tier, next })
}

/// The largest cursor fits a commit record.
const _: () = assert!(24 + 8 * MAX_SCHEMAS <= commit::MAX_CONTENTS_BYTES);
