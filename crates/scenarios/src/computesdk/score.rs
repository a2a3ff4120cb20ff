//! The statistics and the score of the ComputeSDK benchmarks, exactly.

/// The largest time that scores anything.
const CEILING_MS: f64 = 10_000.0;

/// The figures that the score is made of: a twentieth of the times is dropped at each end first, rounded down, so that
/// fewer than 20 lose nothing. In milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trimmed {
    /// The mean of the middle two when their number is even.
    pub median: f64,
    /// Nearest rank, of what is left.
    pub p95: f64,
    /// Nearest rank, of what is left.
    pub p99: f64,
}

impl Trimmed {
    /// Of the successful times; all zero when there are none, as the format has it.
    pub fn of(times_ms: &[f64]) -> Self {
        let mut sorted = times_ms.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let dropped = (sorted.len() as f64 * 0.05).floor() as usize;
        let kept = &sorted[dropped..sorted.len() - dropped];
        let Some(last) = kept.len().checked_sub(1) else { return Self { median: 0.0, p95: 0.0, p99: 0.0 } };
        let middle = kept.len() / 2;
        let median =
            if kept.len().is_multiple_of(2) { (kept[middle - 1] + kept[middle]) / 2.0 } else { kept[middle] };
        // In floating point as there: the rank of a percentile is part of the figure.
        let percentile = |p: f64| {
            let rank = (p / 100.0 * kept.len() as f64).ceil() as usize;
            kept[rank.saturating_sub(1).min(last)]
        };
        Self { median, p95: percentile(95.0), p99: percentile(99.0) }
    }
}

/// From 0 to 100, larger is better: each figure scores `max(0, 100 · (1 − ms / 10000))`, weighted 0.60, 0.25 and 0.15, times
/// the share of iterations that succeeded; to two decimals. 0 when none did.
pub fn composite_score(trimmed: Trimmed, success_rate: f64) -> f64 {
    if success_rate == 0.0 {
        return 0.0;
    }
    let score = |ms: f64| (100.0 * (1.0 - ms / CEILING_MS)).max(0.0);
    let timing = 0.60 * score(trimmed.median) + 0.25 * score(trimmed.p95) + 0.15 * score(trimmed.p99);
    round(timing * success_rate)
}

/// To two decimals.
pub(super) fn round(value: f64) -> f64 {
    (value * 100.0 + 0.5).floor() / 100.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Entries of the files that the project published on 2026-03-16: times, the figures there, the score there.
    #[test]
    fn published_results_are_reproduced() {
        let published: [(&[f64], usize, [f64; 4]); 5] = [
            (
                &[1134.52, 1134.56, 1133.05, 1137.3, 1138.92, 1133.44, 1143.96, 1136.24, 1135.59, 1137.94],
                10,
                [1135.92, 1143.96, 1143.96, 88.61],
            ),
            (&[2270.97, 2209.95, 2170.86, 2188.57], 10, [2199.26, 2270.97, 2270.97, 31.09]),
            (
                &[679.21, 30875.15, 388.63, 2161.39, 362.17, 592.42, 441.76, 763.44, 1571.63, 509.1],
                10,
                [635.81, 30875.15, 30875.15, 56.19],
            ),
            (
                &[2183.93, 2163.11, 2619.84, 2198.46, 4101.41, 2498.09, 2655.7, 1986.61, 17763.6, 2744.76],
                10,
                [2558.97, 17763.6, 17763.6, 44.65],
            ),
            (&[], 10, [0.0, 0.0, 0.0, 0.0]),
        ];
        for (times, iterations, [median, p95, p99, score]) in published {
            let trimmed = Trimmed::of(times);
            // The published median is of unrounded times.
            assert!((trimmed.median - median).abs() < 0.011, "{trimmed:?}");
            assert_eq!((trimmed.p95, trimmed.p99), (p95, p99));
            let rate = times.len() as f64 / iterations as f64;
            assert_eq!(composite_score(trimmed, rate), score);
        }
    }

    #[test]
    fn a_twentieth_is_dropped_at_each_end() {
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        // 6 to 95 are left: the 86th of 90 is 91, the 90th is 95.
        assert_eq!(Trimmed::of(&times), Trimmed { median: 50.5, p95: 91.0, p99: 95.0 });
        let times: Vec<f64> = (1..=19).map(f64::from).collect();
        assert_eq!(Trimmed::of(&times), Trimmed { median: 10.0, p95: 19.0, p99: 19.0 });
        let times: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(Trimmed::of(&times), Trimmed { median: 10.5, p95: 19.0, p99: 19.0 });
    }

    #[test]
    fn what_reaches_the_ceiling_scores_nothing() {
        let all = |ms| Trimmed { median: ms, p95: ms, p99: ms };
        assert_eq!(composite_score(all(0.0), 1.0), 100.0);
        assert_eq!(composite_score(all(200.0), 1.0), 98.0);
        assert_eq!(composite_score(all(200.0), 0.5), 49.0);
        assert_eq!(composite_score(all(10_000.0), 1.0), 0.0);
        assert_eq!(composite_score(all(90_000.0), 1.0), 0.0);
        assert_eq!(composite_score(all(0.0), 0.0), 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_figures_are_within_the_times_and_in_order(times in prop::collection::vec(0.0f64..1e5, 1..200)) {
            let trimmed = Trimmed::of(&times);
            let low = times.iter().copied().fold(f64::INFINITY, f64::min);
            let high = times.iter().copied().fold(0.0, f64::max);
            prop_assert!(low <= trimmed.median && trimmed.p95 <= trimmed.p99 && trimmed.p99 <= high);
            prop_assert!(trimmed.median <= trimmed.p95 || times.len() == 2);
            let score = composite_score(trimmed, 1.0);
            prop_assert!((0.0..=100.0).contains(&score));
        }
    }
}
