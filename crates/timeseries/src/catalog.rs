//! The `catalog` file: which series are registered, appended to and never changed.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::bytes::{ByteReader, put_u16, put_u32, put_u64};
use crate::commit::{self, Commit};
use crate::error::{Error, shortened};
use crate::files;
use crate::header::{Header, StoreId};
use crate::key::SeriesKey;
use crate::layout::{COMMIT_BYTES, Layout, Series};
use crate::mapping::Access;
use crate::options::Schema;
use crate::summary::Kind;

/// A registered series with its name and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesEntry {
    pub(crate) key: SeriesKey,
    pub(crate) series: Series,
}

impl SeriesEntry {
    /// Name and labels.
    #[must_use]
    pub fn key(&self) -> &SeriesKey {
        &self.key
    }

    /// Counter or gauge.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.series.kind
    }

    /// The handle.
    #[must_use]
    pub fn series(&self) -> Series {
        self.series
    }

    /// Number of its schema, in the order of the store's options.
    #[must_use]
    pub fn schema(&self) -> usize {
        usize::from(self.series.schema)
    }
}

#[derive(Debug)]
pub(crate) struct Catalog {
    file: File,
    path: PathBuf,
    tag: u32,
    max_series: Vec<u32>,
    capacity_bytes: u64,
    used_bytes: u64,
    commit: u64,
    entries: Vec<SeriesEntry>,
    by_key: HashMap<SeriesKey, usize>,
    registered: Vec<u32>,
}

/// What the commit record of a new catalog holds.
pub(crate) fn empty_commit() -> Vec<u8> {
    commit::encode(&Commit { sequence: 0, contents: commit_contents(0, 0) })
}

/// The part of a store's identity that handles carry.
pub(crate) fn tag_of(store: &StoreId) -> u32 {
    u32::from_le_bytes([store[0], store[1], store[2], store[3]])
}

impl Catalog {
    pub(crate) fn open(
        directory: &Path,
        header: &Header,
        layout: &Layout,
        access: Access,
    ) -> Result<Self, Error> {
        let path = directory.join(files::CATALOG);
        let mut catalog = Self {
            file: files::open_sized(&path, layout.catalog_bytes, access)?,
            path,
            tag: tag_of(&header.store),
            max_series: layout.schemas.iter().map(|schema| schema.max_series).collect(),
            capacity_bytes: layout.catalog_bytes - COMMIT_BYTES,
            used_bytes: 0,
            commit: 0,
            entries: Vec::new(),
            by_key: HashMap::new(),
            registered: vec![0; layout.schemas.len()],
        };
        catalog.refresh()?;
        Ok(catalog)
    }

    pub(crate) fn entries(&self) -> &[SeriesEntry] {
        &self.entries
    }

    /// Number of registered series of each schema.
    pub(crate) fn registered(&self) -> &[u32] {
        &self.registered
    }

    pub(crate) fn find(&self, key: &SeriesKey) -> Option<&SeriesEntry> {
        self.by_key.get(key).map(|place| &self.entries[*place])
    }

    /// Reads what was registered since the last look.
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        let Some(commit) = commit::load(&self.file, &self.path)? else {
            return Err(Error::damaged(&self.path, "it has no commit record"));
        };
        let mut reader = ByteReader::new(&commit.contents);
        let (Some(count), Some(used)) = (reader.u32(), reader.u64()) else {
            return Err(Error::damaged(&self.path, "its commit record is too short"));
        };
        if used > self.capacity_bytes || used < self.used_bytes {
            return Err(Error::damaged(&self.path, "its commit record does not fit its size"));
        }
        let mut bytes = vec![0; (used - self.used_bytes) as usize];
        let from = COMMIT_BYTES + self.used_bytes;
        self.file.read_exact_at(&mut bytes, from).map_err(|error| Error::io("read", &self.path, error))?;
        let mut reader = ByteReader::new(&bytes);
        while !reader.is_empty() {
            let number = self.entries.len();
            let entry = self.read_entry(&mut reader);
            let entry =
                entry.ok_or_else(|| Error::damaged(&self.path, format!("entry {number} cannot be read")))?;
            self.insert(entry);
        }
        if self.entries.len() != count as usize {
            return Err(Error::damaged(
                &self.path,
                format!("it has {} of {count} entries", self.entries.len()),
            ));
        }
        (self.used_bytes, self.commit) = (used, commit.sequence);
        Ok(())
    }

    /// Finds or adds series, all or none of them, and waits until they are on disk.
    pub(crate) fn register(
        &mut self,
        schemas: &[Schema],
        directory: &Path,
        wanted: &[(SeriesKey, Kind)],
    ) -> Result<Vec<Series>, Error> {
        let mut fresh: Vec<SeriesEntry> = Vec::new();
        let mut fresh_places: HashMap<&SeriesKey, usize> = HashMap::new();
        let mut registered = self.registered.clone();
        let mut bytes = Vec::new();
        let mut handles = Vec::with_capacity(wanted.len());
        for (key, kind) in wanted {
            let held = self.find(key).or_else(|| fresh_places.get(key).map(|place| &fresh[*place]));
            if let Some(held) = held {
                if held.kind() != *kind {
                    let series = shortened(key);
                    return Err(Error::KindDiffers { series, wanted: *kind, held: held.kind() });
                }
                handles.push(held.series);
                continue;
            }
            let Some(place) = schemas.iter().position(|schema| schema.matcher.matches(key)) else {
                return Err(Error::NoSchema { path: directory.to_owned(), series: shortened(key) });
            };
            let max_series = schemas[place].max_series;
            if registered[place] >= max_series {
                let schema = schemas[place].name.clone();
                return Err(Error::SchemaFull { schema, series: shortened(key), max_series });
            }
            let index = registered[place];
            registered[place] += 1;
            let series = Series { store: self.tag, index, schema: place as u16, kind: *kind };
            let entry = SeriesEntry { key: key.clone(), series };
            let before = bytes.len();
            write_entry(&mut bytes, &entry);
            let free = self.capacity_bytes - self.used_bytes;
            if bytes.len() as u64 > free {
                let (needed, free) = ((bytes.len() - before) as u64, free - before as u64);
                let (path, series) = (directory.to_owned(), shortened(key));
                return Err(Error::CatalogFull { path, series, needed, free });
            }
            fresh_places.insert(key, fresh.len());
            fresh.push(entry);
            handles.push(series);
        }
        if !fresh.is_empty() {
            self.append(&bytes, fresh)?;
        }
        Ok(handles)
    }

    /// Entries reach the disk before the record that counts them, so a crash leaves the old count and whole entries.
    fn append(&mut self, bytes: &[u8], fresh: Vec<SeriesEntry>) -> Result<(), Error> {
        let written = self
            .file
            .write_all_at(bytes, COMMIT_BYTES + self.used_bytes)
            .and_then(|()| self.file.sync_data());
        written.map_err(|error| Error::io("write", &self.path, error))?;
        let used = self.used_bytes + bytes.len() as u64;
        let count = (self.entries.len() + fresh.len()) as u32;
        let next = Commit { sequence: self.commit + 1, contents: commit_contents(count, used) };
        commit::save(&self.file, &self.path, &next)?;
        (self.used_bytes, self.commit) = (used, next.sequence);
        fresh.into_iter().for_each(|entry| self.insert(entry));
        Ok(())
    }

    fn insert(&mut self, entry: SeriesEntry) {
        self.registered[entry.schema()] += 1;
        self.by_key.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
    }

    fn read_entry(&self, reader: &mut ByteReader<'_>) -> Option<SeriesEntry> {
        let length = reader.u32()? as usize;
        let sum = reader.u32()?;
        let payload = reader.take(length)?;
        if crc32c::crc32c(payload) != sum {
            return None;
        }
        let mut fields = ByteReader::new(payload);
        let schema = fields.u16()?;
        let kind = match fields.u16()? {
            0 => Kind::Gauge,
            1 => Kind::Counter,
            _ => return None,
        };
        let index = fields.u32()?;
        let mut key = SeriesKey::new(fields.short_text()?).ok()?;
        for _ in 0..fields.u16()? {
            key = key.with(fields.short_text()?, fields.short_text()?).ok()?;
        }
        let place = usize::from(schema);
        let next = *self.registered.get(place)?;
        let fits = index == next && index < self.max_series[place] && !self.by_key.contains_key(&key);
        let series = Series { store: self.tag, index, schema, kind };
        (fits && fields.is_empty()).then_some(SeriesEntry { key, series })
    }
}

/// Length, checksum, then schema, kind, index, name and labels.
fn write_entry(bytes: &mut Vec<u8>, entry: &SeriesEntry) {
    let mut payload = Vec::new();
    put_u16(&mut payload, entry.series.schema);
    put_u16(&mut payload, if entry.series.kind == Kind::Counter { 1 } else { 0 });
    put_u32(&mut payload, entry.series.index);
    put_short_text(&mut payload, entry.key.name());
    put_u16(&mut payload, entry.key.labels().len() as u16);
    for (key, value) in entry.key.labels() {
        put_short_text(&mut payload, key);
        put_short_text(&mut payload, value);
    }
    put_u32(bytes, payload.len() as u32);
    put_u32(bytes, crc32c::crc32c(&payload));
    bytes.extend_from_slice(&payload);
}

/// The limits of names and values are far below what two bytes can count.
fn put_short_text(bytes: &mut Vec<u8>, text: &str) {
    put_u16(bytes, text.len() as u16);
    bytes.extend_from_slice(text.as_bytes());
}

fn commit_contents(count: u32, used_bytes: u64) -> Vec<u8> {
    let mut contents = Vec::new();
    put_u32(&mut contents, count);
    put_u64(&mut contents, used_bytes);
    contents
}
