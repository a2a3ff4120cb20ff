//! Where things are in the files; everything follows from the options.

use crate::options::{StoreOptions, Tier};
use crate::summary::{Kind, Width};

/// Files are made of pages of this size, and each starts with one for itself.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Two commit records, each on a page of its own.
pub(crate) const COMMIT_BYTES: u64 = 2 * PAGE_BYTES;

/// The place of one tier: rows of slots, one slot a series in each row, a row a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// First word of the ring in its file.
    pub(crate) start_word: usize,
    /// Words of a row.
    pub(crate) row_words: usize,
    pub(crate) step_ns: u64,
    pub(crate) slots: u64,
    pub(crate) width: Width,
}

impl Ring {
    pub(crate) fn tick(&self, time_ns: u64) -> u64 {
        time_ns / self.step_ns
    }

    /// First word of the row a tick belongs to.
    pub(crate) fn row(&self, tick: u64) -> usize {
        self.start_word + (tick % self.slots) as usize * self.row_words
    }

    /// First word of a slot.
    pub(crate) fn slot(&self, tick: u64, index: u32) -> usize {
        self.row(tick) + index as usize * self.slot_words()
    }

    pub(crate) fn slot_words(&self) -> usize {
        (self.width.slot_bytes() / 8) as usize
    }

    /// The oldest tick that can be read when this is the newest time.
    pub(crate) fn oldest_tick(&self, newest_ns: u64) -> u64 {
        (self.tick(newest_ns) + 1).saturating_sub(self.slots)
    }

    fn words(&self) -> usize {
        self.row_words * self.slots as usize
    }
}

/// The rings of one schema: the finest is in every lane's file, the others are in the tiers file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchemaLayout {
    pub(crate) rings: Vec<Ring>,
    pub(crate) max_series: u32,
}

impl SchemaLayout {
    pub(crate) fn finest(&self) -> &Ring {
        &self.rings[0]
    }

    /// Whether a sample of this time can still be kept at every tier: its slot lives, and so does everything that
    /// its slots in the coarser tiers are made of.
    pub(crate) fn lives(&self, time_ns: u64, newest_ns: u64) -> bool {
        let finest = self.finest();
        finest.tick(time_ns) >= finest.oldest_tick(newest_ns)
            && self.rings.windows(2).all(|pair| {
                let (fine, coarse) = (&pair[0], &pair[1]);
                let from_ns = coarse.tick(time_ns) * coarse.step_ns;
                fine.tick(from_ns) >= fine.oldest_tick(newest_ns)
            })
    }
}

/// The place of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) schemas: Vec<SchemaLayout>,
    pub(crate) lanes: u32,
    pub(crate) header_bytes: u64,
    pub(crate) catalog_bytes: u64,
    pub(crate) lane_bytes: u64,
    pub(crate) tiers_bytes: u64,
}

impl Layout {
    pub(crate) fn of(options: &StoreOptions) -> Self {
        let mut lane_words = (PAGE_BYTES / 8) as usize;
        let mut tiers_words = lane_words;
        let mut schemas = Vec::new();
        for schema in &options.schemas {
            let place = |(at, tier): (usize, &Tier)| {
                let end = if at == 0 { &mut lane_words } else { &mut tiers_words };
                let row_words = (tier.width.slot_bytes() / 8) as usize * schema.max_series as usize;
                let (step_ns, slots) = (tier.step_ns, u64::from(tier.slots));
                let ring = Ring { start_word: *end, row_words, step_ns, slots, width: tier.width };
                // Wide slots stay within a cache line, also after a narrow ring.
                *end = (*end + ring.words()).next_multiple_of(8);
                ring
            };
            let rings = schema.tiers.iter().enumerate().map(place).collect();
            schemas.push(SchemaLayout { rings, max_series: schema.max_series });
        }
        Self {
            schemas,
            lanes: options.lanes,
            header_bytes: (crate::header::encoded_bytes(options) as u64).next_multiple_of(PAGE_BYTES),
            catalog_bytes: COMMIT_BYTES + options.catalog_bytes.next_multiple_of(PAGE_BYTES),
            lane_bytes: (lane_words as u64 * 8).next_multiple_of(PAGE_BYTES),
            tiers_bytes: (tiers_words as u64 * 8).next_multiple_of(PAGE_BYTES),
        }
    }

    /// Header, lock, catalog, lanes and tiers.
    pub(crate) fn total_bytes(&self) -> u64 {
        let lanes = u64::from(self.lanes) * self.lane_bytes;
        self.header_bytes + PAGE_BYTES + self.catalog_bytes + lanes + self.tiers_bytes
    }
}

/// A registered series: the handle to record through and to read by.
///
/// Handles are cheap to copy and belong to the store that gave them; another store rejects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    pub(crate) store: u32,
    pub(crate) index: u32,
    pub(crate) schema: u16,
    pub(crate) kind: Kind,
}

impl Series {
    /// Counter or gauge.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.kind
    }
}
