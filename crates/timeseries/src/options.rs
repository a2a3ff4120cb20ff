//! What a store is created with: schemas, tiers and limits, all of which decide its size.

use std::time::Duration;

use crate::layout::Layout;
use crate::selector::Selector;
use crate::slot::NARROW_TICK_LIMIT;
use crate::summary::Width;

/// Most schemas of one store.
pub const MAX_SCHEMAS: usize = 32;
/// Most tiers of one schema.
pub const MAX_TIERS: usize = 8;
/// Most lanes of one store.
pub const MAX_LANES: u32 = 64;
/// Times are below this, in nanoseconds since 1970: the year 2262.
pub const TIME_LIMIT_NS: u64 = i64::MAX as u64;

const MAX_SERIES: u32 = 1 << 20;
const MAX_SIZE_BYTES: u64 = 1 << 40;
const NARROW_MIN_STEP_NS: u64 = 10_000_000;
const CATALOG_BASE_BYTES: u64 = 64 * 1024;
const CATALOG_BYTES_PER_SERIES: u64 = 1024;

/// One resolution: a ring of slots of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Length of a slot, nanoseconds.
    pub step_ns: u64,
    /// Number of slots in the ring.
    pub slots: u32,
    /// Size of a slot.
    pub width: Width,
}

impl Tier {
    /// A tier of wide slots.
    #[must_use]
    pub const fn wide(step: Duration, slots: u32) -> Self {
        Self { step_ns: step.as_nanos() as u64, slots, width: Width::Wide }
    }

    /// A tier of narrow slots.
    #[must_use]
    pub const fn narrow(step: Duration, slots: u32) -> Self {
        Self { step_ns: step.as_nanos() as u64, slots, width: Width::Narrow }
    }

    /// Time the ring covers, nanoseconds.
    #[must_use]
    pub const fn span_ns(&self) -> u64 {
        self.step_ns.saturating_mul(self.slots as u64)
    }
}

/// Which series go together, at which resolutions, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Name of the schema, for messages.
    pub name: String,
    /// The series it takes; a series belongs to the first schema that matches it.
    pub matcher: Selector,
    /// Finest first; each step a multiple of the one before.
    pub tiers: Vec<Tier>,
    /// Most series it takes. Space for all of them is reserved at creation.
    pub max_series: u32,
}

impl Schema {
    /// Every series, wide slots, 1 s for 10 min, 10 s for 6 h and 5 min for 7 d.
    #[must_use]
    pub fn new(name: impl Into<String>, max_series: u32) -> Self {
        let tiers = [(1, 600), (10, 2160), (300, 2016)];
        let tiers = tiers.map(|(seconds, slots)| Tier::wide(Duration::from_secs(seconds), slots)).to_vec();
        Self { name: name.into(), matcher: Selector::all(), tiers, max_series }
    }

    /// The same with narrow slots, a quarter of the size.
    #[must_use]
    pub fn narrow(mut self) -> Self {
        for tier in &mut self.tiers {
            tier.width = Width::Narrow;
        }
        self
    }

    /// The same for the series of a matcher.
    #[must_use]
    pub fn matching(mut self, matcher: Selector) -> Self {
        self.matcher = matcher;
        self
    }

    /// The same with other tiers.
    #[must_use]
    pub fn with_tiers(mut self, tiers: Vec<Tier>) -> Self {
        self.tiers = tiers;
        self
    }

    fn check(&self) -> Result<(), OptionsError> {
        let bad = |why: String| Err(OptionsError::Schema { schema: self.name.clone(), why });
        if self.name.is_empty() || self.name.len() > 255 {
            return bad("its name must have 1 to 255 bytes".into());
        }
        if self.matcher.to_string().len() > 60_000 {
            return bad("its matcher is longer than 60,000 bytes".into());
        }
        if self.max_series == 0 || self.max_series > MAX_SERIES {
            return bad(format!("the number of series must be 1 to {MAX_SERIES}"));
        }
        if self.tiers.is_empty() || self.tiers.len() > MAX_TIERS {
            return bad(format!("it needs 1 to {MAX_TIERS} tiers"));
        }
        for (at, tier) in self.tiers.iter().enumerate() {
            if tier.step_ns == 0 || tier.step_ns > TIME_LIMIT_NS / 4 || tier.slots < 2 {
                return bad(format!("tier {at} needs a step above zero and two slots or more"));
            }
            let narrow = tier.width == Width::Narrow;
            if narrow && tier.step_ns < NARROW_MIN_STEP_NS {
                return bad(format!("tier {at} is narrow, and narrow slots cannot be shorter than 10 ms"));
            }
        }
        for (at, pair) in self.tiers.windows(2).enumerate() {
            let (fine, coarse) = (&pair[0], &pair[1]);
            let next = at + 1;
            if coarse.step_ns <= fine.step_ns || coarse.step_ns % fine.step_ns != 0 {
                return bad(format!("the step of tier {next} must be a multiple of that of tier {at}"));
            }
            if fine.span_ns() < coarse.step_ns.saturating_mul(2) {
                return bad(format!("tier {at} must cover two slots of tier {next} or more"));
            }
            if fine.width == Width::Narrow && coarse.width == Width::Wide {
                return bad(format!("tier {next} is wide and cannot be filled from the narrow tier {at}"));
            }
        }
        Ok(())
    }
}

/// Options of a new store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    pub(crate) schemas: Vec<Schema>,
    pub(crate) lanes: u32,
    pub(crate) horizon_ns: u64,
    pub(crate) catalog_bytes: u64,
}

impl StoreOptions {
    /// One lane, a horizon of half the shortest finest tier, and 64 KiB and 1 KiB a series for names and labels.
    ///
    /// # Errors
    ///
    /// A schema cannot be; the message says which and why.
    pub fn new(schemas: Vec<Schema>) -> Result<Self, OptionsError> {
        let shortest = schemas.iter().filter_map(|schema| schema.tiers.first()).map(Tier::span_ns).min();
        let series: u64 = schemas.iter().map(|schema| u64::from(schema.max_series)).sum();
        let catalog_bytes = CATALOG_BASE_BYTES + CATALOG_BYTES_PER_SERIES * series;
        let horizon_ns = shortest.unwrap_or_default() / 2;
        Self { schemas, lanes: 1, horizon_ns, catalog_bytes }.checked()
    }

    /// The number of threads that can record at the same time, 1 to 64. Each has a finest tier of its own.
    ///
    /// # Errors
    ///
    /// Not 1 to 64, or the store would get too large.
    pub fn with_lanes(mut self, lanes: u32) -> Result<Self, OptionsError> {
        self.lanes = lanes;
        self.checked()
    }

    /// How far after the newest sample a time is still believed.
    ///
    /// # Errors
    ///
    /// Zero, or longer than the shortest finest tier: one sample from there would push out all that is in it.
    pub fn with_horizon(mut self, horizon: Duration) -> Result<Self, OptionsError> {
        self.horizon_ns = u64::try_from(horizon.as_nanos()).unwrap_or(u64::MAX);
        self.checked()
    }

    /// Space for the names and labels of all series, bytes.
    ///
    /// # Errors
    ///
    /// Less than 4 KiB, or the store would get too large.
    pub fn with_catalog_bytes(mut self, bytes: u64) -> Result<Self, OptionsError> {
        self.catalog_bytes = bytes;
        self.checked()
    }

    /// The schemas, in the order in which they are asked whether a series is theirs.
    #[must_use]
    pub fn schemas(&self) -> &[Schema] {
        &self.schemas
    }

    /// The number of lanes.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// How far after the newest sample a time is still believed, nanoseconds.
    #[must_use]
    pub fn horizon_ns(&self) -> u64 {
        self.horizon_ns
    }

    /// Bytes of all files of the store together; what creation takes, and all it ever takes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        Layout::of(self).total_bytes()
    }

    pub(crate) fn checked(self) -> Result<Self, OptionsError> {
        if self.schemas.is_empty() || self.schemas.len() > MAX_SCHEMAS {
            return Err(OptionsError::Schemas { found: self.schemas.len() });
        }
        for schema in &self.schemas {
            schema.check()?;
        }
        if self.lanes == 0 || self.lanes > MAX_LANES {
            return Err(OptionsError::Lanes { found: self.lanes });
        }
        let shortest = self.schemas.iter().map(|schema| schema.tiers[0].span_ns()).min().unwrap_or_default();
        if self.horizon_ns == 0 || self.horizon_ns > shortest {
            return Err(OptionsError::Horizon { found_ns: self.horizon_ns, most_ns: shortest });
        }
        if self.catalog_bytes < 4096 {
            return Err(OptionsError::Catalog { found: self.catalog_bytes });
        }
        let size: f64 = self.rough_size();
        if size > MAX_SIZE_BYTES as f64 {
            return Err(OptionsError::TooLarge { gib: size / (1u64 << 30) as f64 });
        }
        Ok(self)
    }

    /// The size without headers, in a type that cannot overflow.
    fn rough_size(&self) -> f64 {
        let of_schema = |schema: &Schema| {
            let of_tier = |(at, tier): (usize, &Tier)| {
                let copies = if at == 0 { f64::from(self.lanes) } else { 1.0 };
                copies * f64::from(tier.slots) * tier.width.slot_bytes() as f64
            };
            f64::from(schema.max_series) * schema.tiers.iter().enumerate().map(of_tier).sum::<f64>()
        };
        self.catalog_bytes as f64 + self.schemas.iter().map(of_schema).sum::<f64>()
    }
}

/// The tick of the latest time fits a narrow slot.
const _: () = assert!(TIME_LIMIT_NS / NARROW_MIN_STEP_NS < NARROW_TICK_LIMIT);

/// Options that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// Too little space for names and labels.
    #[error("{found} bytes for names and labels are too few; 4096 is the least")]
    Catalog {
        /// What was asked for.
        found: u64,
    },
    /// A horizon of nothing or of too much.
    #[error(
        "a horizon of {found_ns} ns cannot be; it must be above zero and at most the shortest finest tier, {most_ns} ns"
    )]
    Horizon {
        /// What was asked for.
        found_ns: u64,
        /// The most there can be.
        most_ns: u64,
    },
    /// Not 1 to 64 lanes.
    #[error("{found} lanes cannot be; ask for 1 to {MAX_LANES}, one for each recording thread")]
    Lanes {
        /// What was asked for.
        found: u32,
    },
    /// A schema that cannot be.
    #[error("schema {schema:?} cannot be: {why}")]
    Schema {
        /// Its name.
        schema: String,
        /// What is wrong.
        why: String,
    },
    /// Not 1 to 32 schemas.
    #[error("{found} schemas cannot be; give 1 to {MAX_SCHEMAS}")]
    Schemas {
        /// What was given.
        found: usize,
    },
    /// More than 1 TiB.
    #[error("the store would take {gib:.0} GiB; 1024 is the limit: use fewer series, lanes or slots")]
    TooLarge {
        /// What it would take.
        gib: f64,
    },
}
