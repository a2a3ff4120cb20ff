//! The reading side of a store, in the writer's process or another, while it is written or not.

use std::collections::BTreeSet;
use std::path::Path;

use crate::catalog::{Catalog, SeriesEntry};
use crate::error::{Error, QueryError};
use crate::header::StoreId;
use crate::lane::RejectedCounts;
use crate::map::StoreMap;
use crate::mapping::Access;
use crate::near::near_names;
use crate::options::{StoreOptions, Tier};
use crate::selector::Selector;

/// How many near names an error lists.
const NEAR_NAMES: usize = 5;

/// Reads a store, without a lock and without writing to it; what is recorded meanwhile is seen at once.
#[derive(Debug)]
pub struct Reader {
    pub(crate) map: StoreMap,
    pub(crate) store: StoreId,
    catalog: Catalog,
}

/// How full a tier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierInfo {
    /// Step, slots and width.
    pub tier: Tier,
    /// Slots of registered series that hold samples.
    pub filled_slots: u64,
    /// Slots of registered series.
    pub registered_slots: u64,
}

/// One schema of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaInfo {
    /// Its name.
    pub name: String,
    /// The series it takes.
    pub matcher: Selector,
    /// Registered series.
    pub series: u32,
    /// Most series it takes.
    pub max_series: u32,
    /// Its tiers, finest first.
    pub tiers: Vec<TierInfo>,
}

/// A store at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreInfo {
    /// Bytes of all its files.
    pub size_bytes: u64,
    /// Recording threads it has space for.
    pub lanes: u32,
    /// Earliest accepted time, nanoseconds since 1970.
    pub oldest_ns: Option<u64>,
    /// Latest accepted time, nanoseconds since 1970.
    pub newest_ns: Option<u64>,
    /// Samples that were not taken.
    pub rejected: RejectedCounts,
    /// The schemas in their order.
    pub schemas: Vec<SchemaInfo>,
}

impl Reader {
    /// Opens a store to read. The files are not changed; permission to read them is enough.
    ///
    /// # Errors
    ///
    /// There is no store, or a file is damaged, missing or of a newer version.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let (map, header) = StoreMap::open(directory, Access::ReadOnly)?;
        let catalog = Catalog::open(directory, &header, &map.layout, Access::ReadOnly)?;
        Ok(Self { map, store: header.store, catalog })
    }

    /// Takes in the series that were registered since the store was opened to read.
    ///
    /// # Errors
    ///
    /// The catalog cannot be read or is damaged.
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.catalog.refresh()
    }

    /// What the store was created with.
    #[must_use]
    pub fn options(&self) -> &StoreOptions {
        &self.map.options
    }

    /// The store's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.map.directory
    }

    /// All registered series, in the order of registration.
    #[must_use]
    pub fn series(&self) -> &[SeriesEntry] {
        self.catalog.entries()
    }

    /// The series a selector matches, in the order of registration.
    ///
    /// # Errors
    ///
    /// [`QueryError::UnknownSeries`] when it matches none, with the names that are near.
    pub fn select(&self, selector: &Selector) -> Result<Vec<&SeriesEntry>, QueryError> {
        let found: Vec<&SeriesEntry> =
            self.series().iter().filter(|entry| selector.matches(&entry.key)).collect();
        if found.is_empty() { Err(self.unknown(selector)) } else { Ok(found) }
    }

    /// Earliest accepted time, nanoseconds since 1970.
    #[must_use]
    pub fn oldest_ns(&self) -> Option<u64> {
        self.map.oldest()
    }

    /// Latest accepted time, nanoseconds since 1970.
    #[must_use]
    pub fn newest_ns(&self) -> Option<u64> {
        self.map.newest()
    }

    /// The store at a glance. Looks at every slot of registered series.
    #[must_use]
    pub fn info(&self) -> StoreInfo {
        let of_schema = |(number, schema): (usize, &crate::options::Schema)| {
            let series = self.catalog.registered()[number];
            let of_tier = |(at, tier): (usize, &Tier)| TierInfo {
                tier: *tier,
                filled_slots: self.filled_slots(number, at),
                registered_slots: u64::from(series) * u64::from(tier.slots),
            };
            let (name, matcher) = (schema.name.clone(), schema.matcher.clone());
            let tiers = schema.tiers.iter().enumerate().map(of_tier).collect();
            SchemaInfo { name, matcher, series, max_series: schema.max_series, tiers }
        };
        StoreInfo {
            size_bytes: self.options().size_bytes(),
            lanes: self.options().lanes,
            oldest_ns: self.oldest_ns(),
            newest_ns: self.newest_ns(),
            rejected: self.map.rejected(),
            schemas: self.options().schemas.iter().enumerate().map(of_schema).collect(),
        }
    }

    fn filled_slots(&self, schema: usize, tier: usize) -> u64 {
        let Some(newest_ns) = self.newest_ns() else { return 0 };
        let ring = &self.map.layout.schemas[schema].rings[tier];
        let mut filled = 0;
        for tick in ring.oldest_tick(newest_ns)..=ring.tick(newest_ns) {
            let series = self.series().iter().filter(|entry| entry.schema() == schema);
            filled +=
                series.filter(|entry| self.map.summary(entry.series, tier, tick).is_some()).count() as u64;
        }
        filled
    }

    /// Names that are nearly the one asked for; where the name is right, its series with their labels.
    fn unknown(&self, selector: &Selector) -> QueryError {
        let named = |entry: &&SeriesEntry| selector.name() == Some(entry.key.name());
        let same: Vec<String> =
            self.series().iter().filter(named).map(|entry| entry.key.to_string()).collect();
        let near = if same.is_empty() {
            let names: BTreeSet<&str> = self.series().iter().map(|entry| entry.key.name()).collect();
            near_names(selector.name().unwrap_or_default(), names.into_iter().map(String::from), NEAR_NAMES)
        } else {
            same.into_iter().take(NEAR_NAMES).collect()
        };
        QueryError::UnknownSeries { selector: selector.to_string(), near }
    }
}
