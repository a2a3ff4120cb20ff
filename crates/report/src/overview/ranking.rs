//! Ranks that say no more than the intervals do.

use virtmark_stats::Interval;
use virtmark_stats::compare::Direction;

/// The rank of each, from 1: one more than there are others that are better beyond doubt, those whose whole interval lies
/// on the better side of its own. Intervals that overlap, or touch, share a rank unless a third tells them apart. What has
/// no interval has no rank, and takes part in nobody else's.
pub fn ranks(intervals: &[Option<Interval>], better: Direction) -> Vec<Option<usize>> {
    let beats = |one: &Interval, other: &Interval| match better {
        Direction::Higher => one.low > other.high,
        Direction::Lower => one.high < other.low,
    };
    let known = || intervals.iter().flatten();
    intervals
        .iter()
        .map(|own| own.as_ref().map(|own| 1 + known().filter(|other| beats(other, own)).count()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interval(low: f64, high: f64) -> Option<Interval> {
        Some(Interval { low, high, level: 0.95 })
    }

    #[test]
    fn overlapping_intervals_share_a_rank_and_the_next_one_counts_them_all() {
        let all = [interval(5.0, 6.0), interval(1.0, 2.0), interval(1.5, 3.0), None];
        assert_eq!(ranks(&all, Direction::Lower), [Some(3), Some(1), Some(1), None]);
        assert_eq!(ranks(&all, Direction::Higher), [Some(1), Some(2), Some(2), None]);
    }

    #[test]
    fn a_third_tells_two_apart_that_overlap() {
        // The first may be as good as either; the second is better than the third beyond doubt.
        let all = [interval(1.0, 5.0), interval(2.0, 3.0), interval(4.0, 6.0)];
        assert_eq!(ranks(&all, Direction::Lower), [Some(1), Some(1), Some(2)]);
    }

    #[test]
    fn touching_is_overlapping_and_one_alone_is_first() {
        assert_eq!(ranks(&[interval(1.0, 2.0), interval(2.0, 3.0)], Direction::Lower), [Some(1), Some(1)]);
        assert_eq!(ranks(&[interval(7.0, 7.0)], Direction::Higher), [Some(1)]);
        assert_eq!(ranks(&[None], Direction::Lower), [None]);
    }

    /// Positions in the order of best to worst case, as one would do by hand: taken off a sorted list.
    fn naive(ends: &[(i32, i32)], own: usize) -> usize {
        let mut highs: Vec<i32> = ends.iter().map(|(_, high)| *high).collect();
        highs.sort_unstable();
        1 + highs.into_iter().take_while(|high| *high < ends[own].0).count()
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_the_naive_model(
            ends in prop::collection::vec((-20i32..20, 0i32..10), 1..12)
                .prop_map(|ends| ends.into_iter().map(|(low, width)| (low, low + width)).collect::<Vec<_>>())
        ) {
            let all: Vec<_> =
                ends.iter().map(|(low, high)| interval(f64::from(*low), f64::from(*high))).collect();
            let lower = ranks(&all, Direction::Lower);
            for (position, rank) in lower.iter().enumerate() {
                prop_assert_eq!(*rank, Some(naive(&ends, position)));
            }
            // Someone is first, and turning everything round turns better round.
            prop_assert!(lower.contains(&Some(1)));
            let turned: Vec<_> =
                ends.iter().map(|(low, high)| interval(-f64::from(*high), -f64::from(*low))).collect();
            prop_assert_eq!(ranks(&turned, Direction::Higher), lower);
        }
    }
}
