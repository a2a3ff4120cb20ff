//! The slot protocol: one writer changes a slot, any number of readers never see half a change.
//!
//! A wide slot is a sequence lock whose sequence also counts: its state word is odd while a write is on the way and
//! goes up by two with each sample, so the count is its distance from the base word. A narrow slot has no word to
//! spare for a sequence; its head (tick and count) never takes the same value twice for different contents, and a
//! reserved head says that a write is on the way. Numbers travel as their bits, so every word is an atomic integer.

use crate::sync::{AtomicU64, Ordering, SPINS, YIELDS, fence, yield_now};

/// Words in a wide slot: 64 bytes, one cache line.
pub(crate) const WIDE_WORDS: usize = 8;
/// Words in a narrow slot: 16 bytes.
pub(crate) const NARROW_WORDS: usize = 2;

/// Bits of a narrow slot's head that count samples.
pub(crate) const NARROW_COUNT_BITS: u32 = 24;
/// The count of a narrow slot that holds more samples than it can count.
pub(crate) const NARROW_COUNT_LOST: u64 = (1 << NARROW_COUNT_BITS) - 1;
/// Ticks a narrow slot can carry are below this.
pub(crate) const NARROW_TICK_LIMIT: u64 = (1 << (64 - NARROW_COUNT_BITS)) - 1;

pub(crate) type WideSlot = [AtomicU64; WIDE_WORDS];
pub(crate) type NarrowSlot = [AtomicU64; NARROW_WORDS];

const STATE: usize = 0;
const BASE: usize = 1;
const TICK: usize = 2;
const SUM: usize = 3;
const MIN: usize = 4;
const MAX: usize = 5;
const FIRST: usize = 6;
const LAST: usize = 7;

const WRITING: u64 = 1;

const HEAD: usize = 0;
const VALUE: usize = 1;

const NARROW_WRITING: u64 = u64::MAX;

/// What a wide slot holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WideValue {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

impl WideValue {
    /// What a slot with one sample holds.
    pub(crate) fn of(sample: f64) -> Self {
        Self { count: 1, sum: sample, min: sample, max: sample, first: sample, last: sample }
    }
}

/// What a narrow slot holds: `value` is a sum for a gauge and the last value for a counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NarrowValue {
    pub(crate) count: u64,
    pub(crate) value: f64,
}

/// Adds one sample; false when the slot already belongs to a later tick.
#[inline]
pub(crate) fn merge_wide(slot: &WideSlot, tick: u64, sample: f64) -> bool {
    let state = slot[STATE].load(Ordering::Relaxed);
    if slot[TICK].load(Ordering::Relaxed) != tick || state & WRITING != 0 || state == 0 {
        return begin_wide(slot, tick, sample);
    }
    let sum = number(&slot[SUM]);
    let min = number(&slot[MIN]);
    let max = number(&slot[MAX]);
    slot[STATE].store(state | WRITING, Ordering::Relaxed);
    fence(Ordering::Release);
    put(&slot[SUM], sum + sample);
    put(&slot[MIN], if sample < min { sample } else { min });
    put(&slot[MAX], if sample > max { sample } else { max });
    put(&slot[LAST], sample);
    slot[STATE].store(state.wrapping_add(2), Ordering::Release);
    true
}

#[cold]
#[inline(never)]
fn begin_wide(slot: &WideSlot, tick: u64, sample: f64) -> bool {
    let state = slot[STATE].load(Ordering::Relaxed);
    let whole = state & WRITING == 0;
    let held = state.wrapping_sub(slot[BASE].load(Ordering::Relaxed)) != 0;
    if whole && held && slot[TICK].load(Ordering::Relaxed) > tick {
        return false;
    }
    set_wide(slot, tick, &WideValue::of(sample));
    true
}

/// Replaces the contents.
pub(crate) fn set_wide(slot: &WideSlot, tick: u64, value: &WideValue) {
    let state = slot[STATE].load(Ordering::Relaxed) & !WRITING;
    let next = state.wrapping_add(2);
    slot[STATE].store(state | WRITING, Ordering::Relaxed);
    fence(Ordering::Release);
    slot[BASE].store(next.wrapping_sub(value.count.wrapping_mul(2)), Ordering::Relaxed);
    slot[TICK].store(tick, Ordering::Relaxed);
    put(&slot[SUM], value.sum);
    put(&slot[MIN], value.min);
    put(&slot[MAX], value.max);
    put(&slot[FIRST], value.first);
    put(&slot[LAST], value.last);
    slot[STATE].store(next, Ordering::Release);
}

/// The tick the slot is taken for, as its only writer sees it.
pub(crate) fn wide_tick(slot: &WideSlot) -> u64 {
    slot[TICK].load(Ordering::Relaxed)
}

/// Reads tick and contents; `None` for an empty slot and for one whose writer died in the middle.
pub(crate) fn read_wide(slot: &WideSlot) -> Option<(u64, WideValue)> {
    settled(|| {
        let state = slot[STATE].load(Ordering::Acquire);
        if state & WRITING != 0 {
            return None;
        }
        let count = state.wrapping_sub(slot[BASE].load(Ordering::Relaxed)) / 2;
        let tick = slot[TICK].load(Ordering::Relaxed);
        let value = WideValue {
            count,
            sum: number(&slot[SUM]),
            min: number(&slot[MIN]),
            max: number(&slot[MAX]),
            first: number(&slot[FIRST]),
            last: number(&slot[LAST]),
        };
        fence(Ordering::Acquire);
        (slot[STATE].load(Ordering::Relaxed) == state).then_some((tick, value))
    })
    .filter(|(_, value)| value.count > 0)
}

/// Empties a slot whose writer died in the middle.
pub(crate) fn mend_wide(slot: &WideSlot) {
    let state = slot[STATE].load(Ordering::Relaxed);
    if state & WRITING != 0 {
        let next = state.wrapping_add(1);
        slot[TICK].store(u64::MAX, Ordering::Relaxed);
        slot[BASE].store(next, Ordering::Relaxed);
        slot[STATE].store(next, Ordering::Release);
    }
}

/// Adds one sample, to the sum or in place of the last; false when the slot already belongs to a later tick.
#[inline]
pub(crate) fn merge_narrow(slot: &NarrowSlot, tick: u64, sample: f64, adds: bool) -> bool {
    let head = slot[HEAD].load(Ordering::Relaxed);
    let count = head & NARROW_COUNT_LOST;
    let (count, value) = if head >> NARROW_COUNT_BITS == tick && count != 0 && head != NARROW_WRITING {
        let value = if adds { number(&slot[VALUE]) + sample } else { sample };
        ((count + 1).min(NARROW_COUNT_LOST), value)
    } else if head != NARROW_WRITING && count != 0 && head >> NARROW_COUNT_BITS > tick {
        return false;
    } else {
        (1, sample)
    };
    set_narrow(slot, tick, &NarrowValue { count, value });
    true
}

/// Replaces the contents.
#[inline]
pub(crate) fn set_narrow(slot: &NarrowSlot, tick: u64, value: &NarrowValue) {
    slot[HEAD].store(NARROW_WRITING, Ordering::Relaxed);
    fence(Ordering::Release);
    put(&slot[VALUE], value.value);
    let head = tick << NARROW_COUNT_BITS | value.count.min(NARROW_COUNT_LOST);
    slot[HEAD].store(head, Ordering::Release);
}

/// The tick the slot is taken for, as its only writer sees it.
pub(crate) fn narrow_tick(slot: &NarrowSlot) -> u64 {
    slot[HEAD].load(Ordering::Relaxed) >> NARROW_COUNT_BITS
}

/// Reads tick and contents; `None` for an empty slot and for one whose writer died in the middle.
pub(crate) fn read_narrow(slot: &NarrowSlot) -> Option<(u64, NarrowValue)> {
    settled(|| {
        let head = slot[HEAD].load(Ordering::Acquire);
        if head == NARROW_WRITING {
            return None;
        }
        let value = number(&slot[VALUE]);
        fence(Ordering::Acquire);
        let whole = slot[HEAD].load(Ordering::Relaxed) == head;
        let count = head & NARROW_COUNT_LOST;
        whole.then_some((head >> NARROW_COUNT_BITS, NarrowValue { count, value }))
    })
    .filter(|(_, value)| value.count > 0)
}

/// Empties a slot whose writer died in the middle.
pub(crate) fn mend_narrow(slot: &NarrowSlot) {
    if slot[HEAD].load(Ordering::Relaxed) == NARROW_WRITING {
        slot[HEAD].store(0, Ordering::Release);
    }
}

fn settled<T>(read: impl Fn() -> Option<T>) -> Option<T> {
    for attempt in 0..=SPINS + YIELDS {
        let value = read();
        if value.is_some() {
            return value;
        }
        if attempt < SPINS {
            std::hint::spin_loop();
        } else {
            yield_now();
        }
    }
    None
}

#[inline(always)]
fn number(word: &AtomicU64) -> f64 {
    f64::from_bits(word.load(Ordering::Relaxed))
}

#[inline(always)]
fn put(word: &AtomicU64, value: f64) {
    word.store(value.to_bits(), Ordering::Relaxed);
}
