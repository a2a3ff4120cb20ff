//! All mapped files of a store together: what reader and writer share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::tag_of;
use crate::error::Error;
use crate::files;
use crate::header::{self, Header, TIERS_NUMBER};
use crate::lane::{LaneState, RejectedCounts};
use crate::layout::{Layout, PAGE_BYTES, Ring, Series};
use crate::mapping::{Access, Mapping};
use crate::options::StoreOptions;
use crate::slot;
use crate::summary::{Kind, Summary, Width};

#[derive(Debug)]
pub(crate) struct StoreMap {
    pub(crate) directory: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) layout: Layout,
    pub(crate) tag: u32,
    pub(crate) lanes: Vec<Arc<Mapping>>,
    pub(crate) tiers: Mapping,
}

/// What a slot holds for a tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Held {
    /// Nothing, or something older, which is the same.
    Nothing,
    /// Samples of the tick.
    Samples(Summary),
    /// Samples of a later tick: those of this one, if there were any, are gone.
    Later,
}

impl StoreMap {
    pub(crate) fn open(directory: &Path, access: Access) -> Result<(Self, Header), Error> {
        let (path, bytes) = files::read_header(directory)?;
        let header = header::decode(&bytes, &path)?;
        let layout = Layout::of(&header.options);
        if bytes.len() as u64 != layout.header_bytes {
            return Err(Error::damaged(
                &path,
                format!("it has {} bytes, not {}", bytes.len(), layout.header_bytes),
            ));
        }
        let open = |name: &str, bytes: u64, number: u32| {
            let path = directory.join(name);
            let file = files::open_sized(&path, bytes, access)?;
            let mut page = vec![0; PAGE_BYTES as usize];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut page, 0)
                .map_err(|error| Error::io("read", &path, error))?;
            header::check_page(&page, &header.store, number, &path)?;
            Mapping::new(&file, bytes, access, &path)
        };
        let tiers = open(files::TIERS, layout.tiers_bytes, TIERS_NUMBER)?;
        let mut lanes = Vec::new();
        for lane in 0..layout.lanes {
            let name = files::lane_name(lane);
            let mapping = open(&name, layout.lane_bytes, lane)?;
            if !LaneState::of(&mapping).plausible() {
                return Err(Error::damaged(&directory.join(name), "its first page has times that cannot be"));
            }
            lanes.push(Arc::new(mapping));
        }
        let (directory, options) = (directory.to_owned(), header.options.clone());
        Ok((Self { directory, options, layout, tag: tag_of(&header.store), lanes, tiers }, header))
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = LaneState<'_>> {
        self.lanes.iter().map(|lane| LaneState::of(lane))
    }

    /// The latest time any lane accepted.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.states().filter_map(|state| state.newest()).max()
    }

    /// The earliest time any lane accepted.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.states().filter_map(|state| state.oldest()).min()
    }

    pub(crate) fn rejected(&self) -> RejectedCounts {
        let mut all = RejectedCounts::default();
        self.states().for_each(|state| all.add(state.rejected()));
        all
    }

    /// What is held of a tick: for the finest tier of all lanes together, in the order of the lanes.
    pub(crate) fn held(&self, schema: usize, tier: usize, tick: u64, index: u32, kind: Kind) -> Held {
        let ring = &self.layout.schemas[schema].rings[tier];
        if tier > 0 {
            return self.held_in(&self.tiers, ring, tick, index, kind);
        }
        let mut all: Option<Summary> = None;
        for lane in &self.lanes {
            match self.held_in(lane, ring, tick, index, kind) {
                Held::Nothing => {}
                Held::Later => return Held::Later,
                Held::Samples(more) => match &mut all {
                    Some(all) => all.absorb(&more),
                    None => all = Some(more),
                },
            }
        }
        all.map_or(Held::Nothing, Held::Samples)
    }

    /// What a reader sees of a tick.
    pub(crate) fn summary(&self, series: Series, tier: usize, tick: u64) -> Option<Summary> {
        match self.held(usize::from(series.schema), tier, tick, series.index, series.kind) {
            Held::Samples(summary) => Some(summary),
            Held::Later | Held::Nothing => None,
        }
    }

    fn held_in(&self, mapping: &Mapping, ring: &Ring, tick: u64, index: u32, kind: Kind) -> Held {
        let words = mapping.words().get(ring.slot(tick, index)..).unwrap_or_default();
        let found = match ring.width {
            Width::Narrow => words
                .first_chunk()
                .and_then(slot::read_narrow)
                .map(|(found, value)| (found, Summary::from_narrow(&value, kind))),
            Width::Wide => words
                .first_chunk()
                .and_then(slot::read_wide)
                .map(|(found, value)| (found, Summary::from_wide(&value))),
        };
        match found {
            Some((found, Some(summary))) if found == tick => Held::Samples(summary),
            // A tick after the newest one was never recorded: the slot is damaged.
            Some((found, _))
                if found > tick && self.newest().is_some_and(|newest| found <= ring.tick(newest)) =>
            {
                Held::Later
            }
            _ => Held::Nothing,
        }
    }
}
