//! Creating a store, and the one writer it has at a time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::catalog::{self, Catalog};
use crate::consolidate::{self, Consolidated};
use crate::error::Error;
use crate::files::{self, WriterLock};
use crate::header::{self, StoreId, TIERS_NUMBER};
use crate::key::SeriesKey;
use crate::lane::{NEW_LANE_CHANGED_FROM, RejectedCounts};
use crate::layout::{Layout, PAGE_BYTES, Series};
use crate::map::StoreMap;
use crate::mapping::Access;
use crate::options::StoreOptions;
use crate::reader::Reader;
use crate::recorder::Recorder;
use crate::slot;
use crate::summary::{Kind, Width};

/// The writing side of a store: registers series, hands out recorders, consolidates and checkpoints.
///
/// There is one at a time, in one process; it holds a lock of the kernel's until it and its recorders are dropped.
#[derive(Debug)]
pub struct Writer {
    catalog: Catalog,
    shared: Arc<Shared>,
}

/// What the writer and its recorders share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) map: StoreMap,
    /// Whether a time was accepted since the store was opened.
    pub(crate) started: AtomicBool,
    /// Which lanes have a recorder.
    pub(crate) taken: Vec<AtomicBool>,
    /// Device and inode of the header when the store was opened.
    identity: (u64, u64),
    _lock: WriterLock,
}

impl Writer {
    /// Makes a store and opens it. All its blocks are allocated here: [`StoreOptions::size_bytes`] says how much.
    ///
    /// The directory is made if it is missing. A creation that fails leaves nothing behind.
    ///
    /// # Errors
    ///
    /// There is a store already, or the file system has no space, no permission or no way to write.
    pub fn create(directory: &Path, options: &StoreOptions) -> Result<Self, Error> {
        if directory.join(files::HEADER).exists() {
            return Err(Error::AlreadyExists { path: directory.to_owned() });
        }
        let made_directory = !directory.exists();
        fs::create_dir_all(directory).map_err(|error| Error::io("create", directory, error))?;
        let store = files::new_store_id()?;
        if let Err(error) = make_files(directory, &store, options) {
            files::remove_remains(directory, options.lanes, made_directory);
            return Err(error);
        }
        Self::open(directory)
    }

    /// Opens a store to write, and finishes the consolidation a crash may have interrupted.
    ///
    /// # Errors
    ///
    /// There is no store, another writer has it, or a file is damaged, missing or of a newer version.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let (path, bytes) = files::read_header(directory)?;
        header::decode(&bytes, &path)?;
        let lock = WriterLock::take(directory)?;
        let (map, header) = StoreMap::open(directory, Access::ReadWrite)?;
        let catalog = Catalog::open(directory, &header, &map.layout, Access::ReadWrite)?;
        mend(&map);
        let identity = identity_of(directory)?;
        let taken = map.lanes.iter().map(|_| AtomicBool::new(false)).collect();
        let shared = Shared { map, started: AtomicBool::new(false), taken, identity, _lock: lock };
        let mut writer = Self { catalog, shared: Arc::new(shared) };
        writer.consolidate();
        Ok(writer)
    }

    /// Opens the store if there is one, and creates it if not.
    ///
    /// # Errors
    ///
    /// As for both; and [`Error::OptionsDiffer`] when the existing store was created with other options.
    pub fn open_or_create(directory: &Path, options: &StoreOptions) -> Result<Self, Error> {
        if !directory.join(files::HEADER).exists() {
            return Self::create(directory, options);
        }
        let writer = Self::open(directory)?;
        if writer.options() != options {
            return Err(Error::OptionsDiffer { path: directory.to_owned() });
        }
        Ok(writer)
    }

    /// What the store was created with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.shared.map.options
    }

    /// The store's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.shared.map.directory
    }

    /// Finds or adds one series. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// As for [`register_all`](Self::register_all).
    pub fn register(&mut self, key: &SeriesKey, kind: Kind) -> Result<Series, Error> {
        let handles = self.register_all(&[(key.clone(), kind)])?;
        // One was asked for, so one is there.
        Ok(handles[0])
    }

    /// Finds or adds series, all or none of them, with two waits for the disk however many they are.
    ///
    /// # Errors
    ///
    /// No schema takes a series, its schema or the catalog is full, or it is registered as the other kind.
    pub fn register_all(&mut self, wanted: &[(SeriesKey, Kind)]) -> Result<Vec<Series>, Error> {
        let map = &self.shared.map;
        self.catalog.register(&map.options.schemas, &map.directory, wanted)
    }

    /// A recorder on a lane that has none.
    ///
    /// # Errors
    ///
    /// [`Error::LanesTaken`] when all lanes have one.
    pub fn recorder(&self) -> Result<Recorder, Error> {
        let take = |taken: &AtomicBool| {
            taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let Some(lane) = self.shared.taken.iter().position(take) else {
            let lanes = self.options().lanes;
            return Err(Error::LanesTaken { path: self.directory().to_owned(), lanes });
        };
        Ok(Recorder::new(Arc::clone(&self.shared), lane as u32))
    }

    /// A reader of the same store, with what is registered by now.
    ///
    /// # Errors
    ///
    /// As for [`Reader::open`].
    pub fn reader(&self) -> Result<Reader, Error> {
        Reader::open(self.directory())
    }

    /// Brings the coarser tiers up to the published times, the slots that are not full yet included.
    ///
    /// Call it once after each published time. Any number of calls gives the same result. What is overwritten in a
    /// finer tier before it was consolidated is missing in the coarser ones; the result says how often that was seen.
    pub fn consolidate(&mut self) -> Consolidated {
        consolidate::run(&self.shared.map, self.catalog.entries(), self.catalog.registered())
    }

    /// Waits until everything recorded and consolidated so far is on disk: what a power cut cannot take any more.
    ///
    /// # Errors
    ///
    /// The disk failed, or the store was deleted or replaced.
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.check_present()?;
        let map = &self.shared.map;
        for (number, lane) in map.lanes.iter().enumerate() {
            lane.sync(&map.directory.join(files::lane_name(number as u32)))?;
        }
        map.tiers.sync(&map.directory.join(files::TIERS))
    }

    /// Whether the store is still where it was opened.
    ///
    /// # Errors
    ///
    /// [`Error::Deleted`] when its directory leads to another store or to none.
    pub fn check_present(&self) -> Result<(), Error> {
        match identity_of(self.directory()) {
            Ok(identity) if identity == self.shared.identity => Ok(()),
            _ => Err(Error::Deleted { path: self.directory().to_owned() }),
        }
    }

    /// Samples that were not taken since the store was created, over all lanes.
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        self.shared.map.rejected()
    }

    /// Consolidates and checkpoints, and lets go of the store once the recorders have.
    ///
    /// # Errors
    ///
    /// As for [`checkpoint`](Self::checkpoint).
    pub fn close(mut self) -> Result<(), Error> {
        self.consolidate();
        self.checkpoint()
    }
}

fn make_files(directory: &Path, store: &StoreId, options: &StoreOptions) -> Result<(), Error> {
    let layout = Layout::of(options);
    files::make(&directory.join(files::LOCK), PAGE_BYTES, &[])?;
    files::make(&directory.join(files::CATALOG), layout.catalog_bytes, &catalog::empty_commit())?;
    files::make(
        &directory.join(files::TIERS),
        layout.tiers_bytes,
        &header::encode_page(store, TIERS_NUMBER),
    )?;
    for lane in 0..layout.lanes {
        let mut page = header::encode_page(store, lane);
        let (at, changed_from) = NEW_LANE_CHANGED_FROM;
        page.resize(at, 0);
        page.extend_from_slice(&changed_from);
        files::make(&directory.join(files::lane_name(lane)), layout.lane_bytes, &page)?;
    }
    files::publish_header(directory, layout.header_bytes, &header::encode(store, options))
}

/// Empties the slots that recorders which died have left half-written.
fn mend(map: &StoreMap) {
    for (lane, state) in map.lanes.iter().zip(map.states()) {
        for time_ns in state.last_written() {
            for schema in &map.layout.schemas {
                let ring = schema.finest();
                let row = ring.row(ring.tick(time_ns));
                let words = &lane.words()[row..row + ring.row_words];
                match ring.width {
                    Width::Narrow => words.as_chunks().0.iter().for_each(slot::mend_narrow),
                    Width::Wide => words.as_chunks().0.iter().for_each(slot::mend_wide),
                }
            }
        }
        if let Some(time_ns) = state.published() {
            state.changed(time_ns);
            state.withdraw();
        }
    }
}

fn identity_of(directory: &Path) -> Result<(u64, u64), Error> {
    let path = directory.join(files::HEADER);
    let found = fs::metadata(&path).map_err(|error| Error::io("open", &path, error))?;
    Ok((found.dev(), found.ino()))
}
