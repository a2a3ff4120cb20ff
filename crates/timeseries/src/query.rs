//! Points of one series over a range.

use std::time::Duration;

use crate::catalog::SeriesEntry;
use crate::error::{QueryError, shortened};
use crate::layout::Ring;
use crate::reader::Reader;
use crate::summary::{Function, Kind, Summary};

/// Which stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Everything that is held, whatever the wall clock says.
    All,
    /// Slots that start from one time on and before another, nanoseconds since 1970.
    Between {
        /// The first time that counts.
        from_ns: u64,
        /// The first time that does not.
        until_ns: u64,
    },
    /// As much time as this, up to the end of the slot of the newest sample.
    Last(Duration),
}

/// Which resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierChoice {
    /// The finest that covers the range as far back as anything was recorded, else the one that reaches back furthest.
    Auto,
    /// This one, 0 being the finest.
    Tier(usize),
}

/// A question to a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which stretch of time.
    pub range: Range,
    /// Which resolution.
    pub tier: TierChoice,
    /// What is asked of each slot.
    pub function: Function,
}

/// A slot's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Start of the slot, nanoseconds since 1970.
    pub time_ns: u64,
    /// The function's value.
    pub value: f64,
}

/// The answers of one series, from the oldest slot to the newest; a slot without samples has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// The tier they are from.
    pub tier: usize,
    /// Length of its slots, nanoseconds.
    pub step_ns: u64,
    /// The answers.
    pub points: Vec<Point>,
}

/// The summaries of one series, from the oldest slot to the newest; a slot without samples has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Summaries {
    /// The tier they are from.
    pub tier: usize,
    /// Length of its slots, nanoseconds.
    pub step_ns: u64,
    /// Start of the slot in nanoseconds since 1970, and what it holds.
    pub summaries: Vec<(u64, Summary)>,
}

impl Reader {
    /// Answers a question about one series.
    ///
    /// An increase or rate has a point for each slot but the first that holds samples: from the slot with samples
    /// before it, be there a gap or not, with the rate over the time between the two. The slot before the range
    /// counts if its tier holds it. A counter that went down started again from zero. Between the first and the last
    /// sample of one slot a counter can start again only once unnoticed; wide slots notice that once.
    ///
    /// # Errors
    ///
    /// There is no such tier, it does not keep what is needed, or a rate is asked of a gauge.
    pub fn query(&self, entry: &SeriesEntry, query: &Query) -> Result<Points, QueryError> {
        let (function, derived) =
            (query.function, matches!(query.function, Function::Increase | Function::Rate));
        if derived && entry.kind() != Kind::Counter {
            return Err(QueryError::NotACounter { function, series: shortened(&entry.key) });
        }
        let (tier, from, until) = self.ticks(entry, query.range, query.tier)?;
        let ring = self.ring(entry, tier);
        let points = if derived {
            self.growth(entry, tier, from, until, function)
        } else {
            let slots = self.slots(entry, tier, from, until);
            let point = |(time_ns, summary): (u64, Summary)| {
                summary.value(function).map(|value| Point { time_ns, value })
            };
            slots.map(point).collect()
        };
        let points: Option<Vec<Point>> = points;
        let points = points.ok_or_else(|| QueryError::NotKept {
            function,
            tier,
            series: shortened(&entry.key),
            kept: if entry.kind() == Kind::Counter { "last or count" } else { "avg, sum or count" },
        })?;
        Ok(Points { tier, step_ns: ring.step_ns, points })
    }

    /// Everything that is kept of one series in a range.
    ///
    /// # Errors
    ///
    /// There is no such tier.
    pub fn summaries(
        &self,
        entry: &SeriesEntry,
        range: Range,
        tier: TierChoice,
    ) -> Result<Summaries, QueryError> {
        let (tier, from, until) = self.ticks(entry, range, tier)?;
        let summaries = self.slots(entry, tier, from, until).collect();
        Ok(Summaries { tier, step_ns: self.ring(entry, tier).step_ns, summaries })
    }

    fn growth(
        &self,
        entry: &SeriesEntry,
        tier: usize,
        from: u64,
        until: u64,
        function: Function,
    ) -> Option<Vec<Point>> {
        let oldest = self.readable(self.ring(entry, tier)).map_or(from, |(oldest, _)| oldest);
        let before = self.slots(entry, tier, oldest, from).last();
        let mut before = before.map(|(time_ns, summary)| (time_ns, summary.last));
        let mut points = Vec::new();
        for (time_ns, summary) in self.slots(entry, tier, from, until) {
            let last = summary.last?;
            if let Some((before_ns, before)) = before {
                let steps = [before?, summary.first.unwrap_or(last), last];
                let increase: f64 = steps.windows(2).map(|pair| grown(pair[0], pair[1])).sum();
                let seconds = (time_ns - before_ns) as f64 / 1e9;
                let value = if function == Function::Rate { increase / seconds } else { increase };
                points.push(Point { time_ns, value });
            }
            before = Some((time_ns, Some(last)));
        }
        Some(points)
    }

    /// The slots with samples from one tick on and before another.
    fn slots(
        &self,
        entry: &SeriesEntry,
        tier: usize,
        from: u64,
        until: u64,
    ) -> impl Iterator<Item = (u64, Summary)> {
        let step_ns = self.ring(entry, tier).step_ns;
        let series = entry.series;
        (from..until).filter_map(move |tick| Some((tick * step_ns, self.map.summary(series, tier, tick)?)))
    }

    /// The tier and the ticks of a range, the last one not included.
    fn ticks(
        &self,
        entry: &SeriesEntry,
        range: Range,
        choice: TierChoice,
    ) -> Result<(usize, u64, u64), QueryError> {
        let tiers = self.map.layout.schemas[entry.schema()].rings.len();
        let newest_ns = self.newest_ns().unwrap_or_default();
        let tier = match choice {
            TierChoice::Tier(tier) if tier < tiers => tier,
            TierChoice::Tier(tier) => {
                return Err(QueryError::NoSuchTier { tier, tiers, series: shortened(&entry.key) });
            }
            TierChoice::Auto => self.covering(entry, range, newest_ns),
        };
        let ring = self.ring(entry, tier);
        let Some((oldest, newest)) = self.readable(ring) else { return Ok((tier, 0, 0)) };
        let (from, until) = match range {
            Range::All => (oldest, newest + 1),
            Range::Between { from_ns, until_ns } => {
                (from_ns.div_ceil(ring.step_ns), until_ns.div_ceil(ring.step_ns))
            }
            Range::Last(span) => (first_of_last(ring, newest_ns, span).div_ceil(ring.step_ns), newest + 1),
        };
        Ok((tier, from.max(oldest), until.min(newest + 1)))
    }

    fn covering(&self, entry: &SeriesEntry, range: Range, newest_ns: u64) -> usize {
        let from_ns = |ring: &Ring| match range {
            Range::All => 0,
            Range::Between { from_ns, .. } => from_ns,
            Range::Last(span) => first_of_last(ring, newest_ns, span),
        };
        let oldest_ns = self.oldest_ns().unwrap_or_default();
        let start_ns = |ring: &Ring| ring.oldest_tick(newest_ns) * ring.step_ns;
        let rings = &self.map.layout.schemas[entry.schema()].rings;
        let covers = rings.iter().position(|ring| start_ns(ring) <= from_ns(ring).max(oldest_ns));
        let furthest = || (0..rings.len()).min_by_key(|tier| start_ns(&rings[*tier])).unwrap_or_default();
        covers.unwrap_or_else(furthest)
    }

    pub(crate) fn ring(&self, entry: &SeriesEntry, tier: usize) -> &Ring {
        &self.map.layout.schemas[entry.schema()].rings[tier]
    }

    /// Oldest and newest tick a ring can hold now.
    pub(crate) fn readable(&self, ring: &Ring) -> Option<(u64, u64)> {
        let newest_ns = self.newest_ns()?;
        Some((ring.oldest_tick(newest_ns), ring.tick(newest_ns)))
    }
}

/// The first time of a span that ends with the slot of the newest sample.
fn first_of_last(ring: &Ring, newest_ns: u64, span: Duration) -> u64 {
    let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    ((ring.tick(newest_ns) + 1) * ring.step_ns).saturating_sub(span_ns)
}

/// How much a counter grew from one value to the next; a smaller one means that it started again from zero.
fn grown(from: f64, to: f64) -> f64 {
    if to >= from { to - from } else { to }
}
