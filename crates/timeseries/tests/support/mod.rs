//! What several tests of the store need.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod child;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use virtmark_timeseries::{Kind, Schema, Series, SeriesKey, StoreOptions, Writer};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// A second that is a multiple of all steps of the default tiers.
pub(crate) const START: u64 = 1_700_000_100 * SECOND;

/// A directory in memory where there is one, so that waiting for a disk does not make tests slow.
pub(crate) fn memory_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A new store with the default tiers.
pub(crate) struct Store {
    pub(crate) directory: TempDir,
    pub(crate) writer: Writer,
    pub(crate) series: Vec<Series>,
}

impl Store {
    pub(crate) fn new(options: &StoreOptions, names: &[(&str, Kind)]) -> Self {
        let directory = memory_directory();
        let mut writer = Writer::create(&directory.path().join("store"), options).unwrap();
        let keys: Vec<(SeriesKey, Kind)> = names.iter().map(|(name, kind)| (key(name), *kind)).collect();
        let series = writer.register_all(&keys).unwrap();
        Self { directory, writer, series }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }
}

pub(crate) fn key(name: &str) -> SeriesKey {
    SeriesKey::new(name).unwrap()
}

pub(crate) fn options(max_series: u32) -> StoreOptions {
    StoreOptions::new(vec![Schema::new("all", max_series)]).unwrap()
}
