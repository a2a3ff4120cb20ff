//! From the finer tiers to the coarser: every slot that may have changed is computed anew from what it is made of.

use crate::catalog::SeriesEntry;
use crate::lane;
use crate::layout::Ring;
use crate::map::{Held, StoreMap};
use crate::slot;
use crate::summary::{Kind, Summary, Width};

/// What a consolidation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consolidated {
    /// Slots that were written because they had changed.
    pub written: u64,
    /// Slots that were left as they are because part of what they are made of was overwritten already.
    pub incomplete: u64,
}

/// Consolidates from the earliest time that may have changed to the newest.
pub(crate) fn run(map: &StoreMap, entries: &[SeriesEntry], registered: &[u32]) -> Consolidated {
    let Some(newest_ns) = map.newest() else { return Consolidated::default() };
    let (from_ns, next_ns) = begin(map, newest_ns);
    let mut done = Consolidated::default();
    let mut kinds: Vec<Vec<Kind>> =
        registered.iter().map(|count| vec![Kind::Gauge; *count as usize]).collect();
    for entry in entries {
        kinds[entry.schema()][entry.series.index as usize] = entry.kind();
    }
    for (schema, kinds) in kinds.iter().enumerate() {
        for tier in 1..map.layout.schemas[schema].rings.len() {
            let tick_range = ticks_to_do(map, schema, tier, from_ns, newest_ns);
            for tick in tick_range {
                for (index, kind) in kinds.iter().enumerate() {
                    consolidate_slot(map, (schema, tier), tick, index as u32, *kind, &mut done);
                }
            }
        }
    }
    lane::set_consolidated_until(&map.tiers, next_ns);
    done
}

/// Takes the marks of what has changed, noting them first where a crash cannot lose them; gives the earliest, and the
/// time the next consolidation starts from.
///
/// A recorder goes on recording at the time it has published, so the next consolidation looks at that time again.
/// A published time whose slots do not live any more is not looked at: nothing that is recorded there can be read.
fn begin(map: &StoreMap, newest_ns: u64) -> (u64, u64) {
    let mut from_ns = lane::consolidated_until(&map.tiers).min(newest_ns);
    for state in map.states() {
        from_ns = from_ns.min(state.changed_from());
    }
    lane::set_consolidated_until(&map.tiers, from_ns);
    let mut next_ns = newest_ns;
    for state in map.states() {
        from_ns = from_ns.min(state.take_changed());
        if let Some(published_ns) = state.published()
            && map.layout.schemas.iter().any(|schema| schema.lives(published_ns, newest_ns))
        {
            next_ns = next_ns.min(published_ns);
        }
    }
    lane::set_consolidated_until(&map.tiers, from_ns);
    (from_ns, next_ns)
}

/// From the first slot that may have changed and can still be made; what it is made of reaches back as far as the
/// finer tier's ring does.
fn ticks_to_do(
    map: &StoreMap,
    schema: usize,
    tier: usize,
    from_ns: u64,
    newest_ns: u64,
) -> std::ops::RangeInclusive<u64> {
    let rings = &map.layout.schemas[schema].rings;
    let ring = &rings[tier];
    let earliest_ns = map.oldest().unwrap_or_default().max(from_ns);
    let first = ring.tick(earliest_ns).max(ring.oldest_tick(newest_ns));
    first..=ring.tick(newest_ns)
}

fn consolidate_slot(
    map: &StoreMap,
    (schema, tier): (usize, usize),
    tick: u64,
    index: u32,
    kind: Kind,
    done: &mut Consolidated,
) {
    let rings = &map.layout.schemas[schema].rings;
    let (fine, coarse) = (&rings[tier - 1], &rings[tier]);
    let parts = coarse.step_ns / fine.step_ns;
    let mut all: Option<Summary> = None;
    for part in tick * parts..(tick + 1) * parts {
        match map.held(schema, tier - 1, part, index, kind) {
            Held::Nothing => {}
            Held::Later => {
                done.incomplete += 1;
                return;
            }
            Held::Samples(more) => match &mut all {
                Some(all) => all.absorb(&more),
                None => all = Some(more),
            },
        }
    }
    if let Some(all) = all
        && put(map, coarse, (schema, tier), tick, index, kind, &all)
    {
        done.written += 1;
    }
}

/// Replaces a slot, unless it holds as many samples of this tick already, or those of a later one.
fn put(
    map: &StoreMap,
    ring: &Ring,
    (schema, tier): (usize, usize),
    tick: u64,
    index: u32,
    kind: Kind,
    summary: &Summary,
) -> bool {
    let words = map.tiers.words().get(ring.slot(tick, index)..).unwrap_or_default();
    // This is the only writer of the slot, so one found half-written is what a crash has left.
    match ring.width {
        Width::Narrow => words.first_chunk().into_iter().for_each(slot::mend_narrow),
        Width::Wide => words.first_chunk().into_iter().for_each(slot::mend_wide),
    }
    match map.held(schema, tier, tick, index, kind) {
        Held::Later => return false,
        Held::Samples(held) if held == *summary => return false,
        Held::Samples(held) if held.count.zip(summary.count).is_some_and(|(held, new)| held >= new) => {
            return false;
        }
        Held::Nothing | Held::Samples(_) => {}
    }
    match ring.width {
        Width::Narrow => match (words.first_chunk(), summary.to_narrow(kind)) {
            (Some(slot), Some(value)) => slot::set_narrow(slot, tick, &value),
            _ => return false,
        },
        Width::Wide => match (words.first_chunk(), summary.to_wide()) {
            (Some(slot), Some(value)) => slot::set_wide(slot, tick, &value),
            _ => return false,
        },
    }
    true
}
