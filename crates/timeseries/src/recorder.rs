//! The record path: one recorder a lane, one time for many samples.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Rejected;
use crate::lane::{LaneState, RejectedCounts};
use crate::layout::Series;
use crate::mapping::Mapping;
use crate::options::TIME_LIMIT_NS;
use crate::slot::{self, NarrowValue, WideValue};
use crate::summary::{Kind, Width};
use crate::writer::Shared;

/// Records into one lane of a store; a thread that records has one of its own.
///
/// The sampler says what time it is with [`publish`](Self::publish); [`record`](Self::record) then takes a few
/// nanoseconds, without an allocation, lock, system call, clock read or division.
pub struct Recorder {
    lane: Arc<Mapping>,
    cursors: Box<[Cursor]>,
    tag: u32,
    number: u32,
    published: Option<u64>,
    /// Why the current time takes no samples, where it takes none.
    closed: Rejected,
    shared: Arc<Shared>,
    /// Two threads must not record through one recorder, not even in turns without handing it over.
    not_sync: PhantomData<Cell<()>>,
}

/// Where the samples of one schema go at the published time.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    tick: u64,
    row: usize,
    /// Series with an index below this are taken: none while the time is not accepted.
    limit: u32,
    wide: bool,
}

impl Recorder {
    pub(crate) fn new(shared: Arc<Shared>, number: u32) -> Self {
        let map = &shared.map;
        let cursor = |wide| Cursor { tick: 0, row: 0, limit: 0, wide };
        let cursors =
            map.layout.schemas.iter().map(|schema| cursor(schema.finest().width == Width::Wide)).collect();
        let (lane, tag) = (Arc::clone(&map.lanes[number as usize]), map.tag);
        let closed = Rejected::Late { behind_ns: 0 };
        Self { lane, cursors, tag, number, published: None, closed, shared, not_sync: PhantomData }
    }

    /// Sets the time of the samples that follow, nanoseconds since 1970.
    ///
    /// Times may go back as long as their slots live, and forward up to the store's horizon after the newest; the
    /// first time after the store was opened may be any later one. Take them from a clock that does not step: the
    /// wall clock once, and then a monotonic one. This makes the pages of the slots present, which can take a
    /// microsecond each.
    ///
    /// # Errors
    ///
    /// [`Rejected::FarFuture`] beyond the horizon, and [`Rejected::Late`] when the slots of that time do not live
    /// any more in any schema. Samples are then rejected, and counted, until a time is accepted.
    pub fn publish(&mut self, time_ns: u64) -> Result<(), Rejected> {
        let first = !self.shared.started.load(Ordering::Acquire);
        let horizon_ns = if first { TIME_LIMIT_NS } else { self.shared.map.options.horizon_ns };
        self.move_to(time_ns, horizon_ns)
    }

    /// [`publish`](Self::publish) without a horizon, for a sampler that knows why time has passed: a host that slept.
    ///
    /// # Errors
    ///
    /// As for `publish`; too far ahead are only times after the year 2262.
    pub fn jump_to(&mut self, time_ns: u64) -> Result<(), Rejected> {
        self.move_to(time_ns, TIME_LIMIT_NS)
    }

    /// Records one sample at the published time; false when it was rejected, and counted as that.
    #[inline]
    pub fn record(&mut self, series: Series, value: f64) -> bool {
        let Some(cursor) = self.cursors.get(usize::from(series.schema)) else {
            return self.reject(series, value);
        };
        if series.store != self.tag || series.index >= cursor.limit || !value.is_finite() {
            return self.reject(series, value);
        }
        let taken = if cursor.wide {
            let at = cursor.row + series.index as usize * slot::WIDE_WORDS;
            let words = self.lane.words().get(at..at + slot::WIDE_WORDS);
            words
                .and_then(|words| words.first_chunk())
                .is_some_and(|slot| slot::merge_wide(slot, cursor.tick, value))
        } else {
            let at = cursor.row + series.index as usize * slot::NARROW_WORDS;
            let words = self.lane.words().get(at..at + slot::NARROW_WORDS);
            let adds = series.kind == Kind::Gauge;
            words
                .and_then(|words| words.first_chunk())
                .is_some_and(|slot| slot::merge_narrow(slot, cursor.tick, value, adds))
        };
        taken || self.begin_damaged(series, cursor.tick, value) || self.reject(series, value)
    }

    /// Publishes a time and records samples at it; returns how many were taken.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish); all the samples are then rejected and counted.
    pub fn record_batch(&mut self, time_ns: u64, samples: &[(Series, f64)]) -> Result<usize, Rejected> {
        let published = if self.published == Some(time_ns) { Ok(()) } else { self.publish(time_ns) };
        let mut taken = 0;
        for &(series, value) in samples {
            taken += usize::from(self.record(series, value));
        }
        published.map(|()| taken)
    }

    /// Records one sample at a time of its own, early or late, beside the published time.
    ///
    /// Slower than [`record`](Self::record): it divides and takes an atomic minimum.
    ///
    /// # Errors
    ///
    /// Why the sample was rejected; it is counted as well.
    pub fn record_at(&mut self, series: Series, time_ns: u64, value: f64) -> Result<(), Rejected> {
        let result = self.place_at(series, time_ns, value);
        if let Err(reason) = &result {
            LaneState::of(&self.lane).reject(reason);
        }
        result
    }

    /// Samples of this lane that were not taken, since the store was created.
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        LaneState::of(&self.lane).rejected()
    }

    fn move_to(&mut self, time_ns: u64, horizon_ns: u64) -> Result<(), Rejected> {
        let newest_ns = self.shared.map.newest();
        let state = LaneState::of(&self.lane);
        let accepted = self.accepts(time_ns, newest_ns, horizon_ns);
        let newest_ns = newest_ns.unwrap_or_default().max(time_ns);
        let mut closed = accepted.err();
        if closed.is_none() {
            self.shared.started.store(true, Ordering::Release);
            state.accept(time_ns);
            state.publish(time_ns);
        }
        let mut open = 0;
        for (cursor, schema) in self.cursors.iter_mut().zip(&self.shared.map.layout.schemas) {
            cursor.limit = 0;
            if closed.is_some() || !schema.lives(time_ns, newest_ns) {
                continue;
            }
            let ring = schema.finest();
            cursor.tick = ring.tick(time_ns);
            cursor.row = ring.row(cursor.tick);
            cursor.limit = schema.max_series;
            self.lane.touch(cursor.row, ring.row_words);
            open += 1;
        }
        if closed.is_none() && open < self.cursors.len() {
            // Some schemas keep this time and some do not: samples of the others are late.
            self.closed = Rejected::Late { behind_ns: newest_ns - time_ns };
        }
        if open == 0 {
            let reason = *closed.get_or_insert(Rejected::Late { behind_ns: newest_ns - time_ns });
            self.closed = reason;
            self.published = None;
            return Err(reason);
        }
        self.published = Some(time_ns);
        Ok(())
    }

    /// Whether a time is neither too early for every schema nor too far ahead.
    fn accepts(&self, time_ns: u64, newest_ns: Option<u64>, horizon_ns: u64) -> Result<(), Rejected> {
        let newest_ns = newest_ns.unwrap_or(time_ns.min(TIME_LIMIT_NS));
        let ahead_ns = time_ns.saturating_sub(newest_ns);
        if ahead_ns > horizon_ns || time_ns >= TIME_LIMIT_NS {
            return Err(Rejected::FarFuture { ahead_ns, horizon_ns });
        }
        let mut schemas = self.shared.map.layout.schemas.iter();
        if schemas.any(|schema| schema.lives(time_ns, newest_ns.max(time_ns))) {
            Ok(())
        } else {
            Err(Rejected::Late { behind_ns: newest_ns.saturating_sub(time_ns) })
        }
    }

    fn place_at(&mut self, series: Series, time_ns: u64, value: f64) -> Result<(), Rejected> {
        let map = &self.shared.map;
        let schema = map.layout.schemas.get(usize::from(series.schema)).filter(|_| series.store == self.tag);
        let schema = schema.filter(|schema| series.index < schema.max_series).ok_or(Rejected::Foreign)?;
        if !value.is_finite() {
            return Err(Rejected::NotFinite);
        }
        let newest_ns = map.newest();
        let first = !self.shared.started.load(Ordering::Acquire);
        let horizon_ns = if first { TIME_LIMIT_NS } else { map.options.horizon_ns };
        self.accepts(time_ns, newest_ns, horizon_ns)?;
        let newest_ns = newest_ns.unwrap_or_default().max(time_ns);
        let late = Rejected::Late { behind_ns: newest_ns - time_ns };
        if !schema.lives(time_ns, newest_ns) {
            return Err(late);
        }
        self.shared.started.store(true, Ordering::Release);
        let state = LaneState::of(&self.lane);
        state.accept(time_ns);
        state.set_own_time(time_ns);
        let ring = schema.finest();
        let tick = ring.tick(time_ns);
        let words = self.lane.words().get(ring.slot(tick, series.index)..).unwrap_or_default();
        let taken = match ring.width {
            Width::Narrow => words
                .first_chunk()
                .is_some_and(|slot| slot::merge_narrow(slot, tick, value, series.kind == Kind::Gauge)),
            Width::Wide => words.first_chunk().is_some_and(|slot| slot::merge_wide(slot, tick, value)),
        };
        let taken = taken || self.begin_damaged(series, tick, value);
        // After the sample: a consolidation that takes the mark has seen the sample.
        state.changed(time_ns);
        if taken { Ok(()) } else { Err(late) }
    }

    /// Starts a slot that claims a tick after the newest one, which only damage can have left; false if it does not.
    #[cold]
    #[inline(never)]
    fn begin_damaged(&self, series: Series, tick: u64, value: f64) -> bool {
        let map = &self.shared.map;
        let ring = map.layout.schemas[usize::from(series.schema)].finest();
        let newest = map.newest().map_or(u64::MAX, |newest_ns| ring.tick(newest_ns));
        let words = self.lane.words().get(ring.slot(tick, series.index)..).unwrap_or_default();
        match ring.width {
            Width::Narrow => words.first_chunk().is_some_and(|slot| {
                let damaged = slot::narrow_tick(slot) > newest;
                if damaged {
                    slot::set_narrow(slot, tick, &NarrowValue { count: 1, value });
                }
                damaged
            }),
            Width::Wide => words.first_chunk().is_some_and(|slot| {
                let damaged = slot::wide_tick(slot) > newest;
                if damaged {
                    slot::set_wide(slot, tick, &WideValue::of(value));
                }
                damaged
            }),
        }
    }

    #[cold]
    #[inline(never)]
    fn reject(&self, series: Series, value: f64) -> bool {
        let schema = self.shared.map.layout.schemas.get(usize::from(series.schema));
        let known = schema.is_some_and(|schema| series.index < schema.max_series);
        let reason = if !known || series.store != self.tag {
            Rejected::Foreign
        } else if !value.is_finite() {
            Rejected::NotFinite
        } else {
            self.closed
        };
        LaneState::of(&self.lane).reject(&reason);
        false
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let state = LaneState::of(&self.lane);
        if let Some(time_ns) = state.published() {
            state.changed(time_ns);
            state.withdraw();
        }
        self.shared.taken[self.number as usize].store(false, Ordering::Release);
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("lane", &self.number).field("published", &self.published).finish()
    }
}
