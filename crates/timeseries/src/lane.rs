//! The words on the first page of a lane's file that change, and the one of the tiers file.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Rejected;
use crate::mapping::Mapping;

/// Latest time that was accepted; times are stored plus one, so that zero means never.
const NEWEST: usize = 8;
/// Earliest time that was accepted.
const OLDEST: usize = 9;
/// The time samples are recorded at now; zero without a recorder.
const PUBLISHED: usize = 10;
/// The time of the latest sample that came with a time of its own.
const OWN_TIME: usize = 11;
/// From this time on slots may have changed since they were last consolidated, as it is.
const CHANGED_FROM: usize = 12;
const REJECTED_FAR_FUTURE: usize = 16;
const REJECTED_FOREIGN: usize = 17;
const REJECTED_LATE: usize = 18;
const REJECTED_NOT_FINITE: usize = 19;

/// In the tiers file: everything before this time is consolidated.
const CONSOLIDATED_UNTIL: usize = 8;

/// Where a word that does not start as zero is in a new lane's first page, and what it holds.
pub(crate) const NEW_LANE_CHANGED_FROM: (usize, [u8; 8]) = (CHANGED_FROM * 8, u64::MAX.to_le_bytes());

/// Samples that were not taken, by reason, since the store was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectedCounts {
    /// Beyond the horizon, or at a time that was.
    pub far_future: u64,
    /// With a handle of another store.
    pub foreign: u64,
    /// For a slot that did not live any more, or before any time was published.
    pub late: u64,
    /// Not a number, or infinite.
    pub not_finite: u64,
}

impl RejectedCounts {
    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.far_future + self.foreign + self.late + self.not_finite
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.far_future += other.far_future;
        self.foreign += other.foreign;
        self.late += other.late;
        self.not_finite += other.not_finite;
    }
}

/// A view of one lane's changing words.
pub(crate) struct LaneState<'a>(&'a [AtomicU64]);

impl<'a> LaneState<'a> {
    pub(crate) fn of(lane: &'a Mapping) -> Self {
        Self(lane.words())
    }

    pub(crate) fn newest(&self) -> Option<u64> {
        self.time(NEWEST)
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.time(OLDEST)
    }

    pub(crate) fn published(&self) -> Option<u64> {
        self.time(PUBLISHED)
    }

    /// The rows a recorder that died may have left a half-written slot in.
    pub(crate) fn last_written(&self) -> impl Iterator<Item = u64> {
        [self.time(PUBLISHED), self.time(OWN_TIME)].into_iter().flatten()
    }

    /// Widens the range of times that were accepted.
    pub(crate) fn accept(&self, time_ns: u64) {
        if self.newest().is_none_or(|newest| newest < time_ns) {
            self.set_time(NEWEST, Some(time_ns));
        }
        if self.oldest().is_none_or(|oldest| time_ns < oldest) {
            self.set_time(OLDEST, Some(time_ns));
        }
    }

    /// First the time, then that something changes there: a consolidation that sees the second sees the first, and
    /// the next one starts from the time this one sees.
    pub(crate) fn publish(&self, time_ns: u64) {
        self.set_time(PUBLISHED, Some(time_ns));
        self.changed(time_ns);
    }

    pub(crate) fn withdraw(&self) {
        self.set_time(PUBLISHED, None);
    }

    pub(crate) fn set_own_time(&self, time_ns: u64) {
        self.set_time(OWN_TIME, Some(time_ns));
    }

    pub(crate) fn changed(&self, time_ns: u64) {
        self.0[CHANGED_FROM].fetch_min(time_ns, Ordering::AcqRel);
    }

    pub(crate) fn changed_from(&self) -> u64 {
        self.0[CHANGED_FROM].load(Ordering::Acquire)
    }

    pub(crate) fn take_changed(&self) -> u64 {
        self.0[CHANGED_FROM].swap(u64::MAX, Ordering::AcqRel)
    }

    pub(crate) fn reject(&self, reason: &Rejected) {
        let word = match reason {
            Rejected::FarFuture { .. } => REJECTED_FAR_FUTURE,
            Rejected::Foreign => REJECTED_FOREIGN,
            Rejected::Late { .. } => REJECTED_LATE,
            Rejected::NotFinite => REJECTED_NOT_FINITE,
        };
        self.0[word].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self) -> RejectedCounts {
        let count = |word: usize| self.0[word].load(Ordering::Relaxed);
        RejectedCounts {
            far_future: count(REJECTED_FAR_FUTURE),
            foreign: count(REJECTED_FOREIGN),
            late: count(REJECTED_LATE),
            not_finite: count(REJECTED_NOT_FINITE),
        }
    }

    /// Whether the times can be what a recorder left.
    pub(crate) fn plausible(&self) -> bool {
        let limit = crate::options::TIME_LIMIT_NS;
        let in_time = |time: Option<u64>| time.is_none_or(|time| time < limit);
        in_time(self.newest())
            && in_time(self.published())
            && in_time(self.time(OWN_TIME))
            && self.oldest() <= self.newest()
    }

    fn time(&self, word: usize) -> Option<u64> {
        self.0[word].load(Ordering::Acquire).checked_sub(1)
    }

    fn set_time(&self, word: usize, time_ns: Option<u64>) {
        self.0[word].store(time_ns.map_or(0, |time| time + 1), Ordering::Release);
    }
}

/// Everything before this time is consolidated.
pub(crate) fn consolidated_until(tiers: &Mapping) -> u64 {
    tiers.words()[CONSOLIDATED_UNTIL].load(Ordering::Acquire)
}

pub(crate) fn set_consolidated_until(tiers: &Mapping, time_ns: u64) {
    tiers.words()[CONSOLIDATED_UNTIL].store(time_ns, Ordering::Release);
}
