//! The summary against definitions written out, published figures, and simulated truth.

use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use virtmark_stats::{DEFAULT_SEED, MedianMethod, StatsError, Summary, bca, percentile, ratio_of_medians};

/// Michelson's measurements of the speed of light in hundredths of 1000 km/s above 299 000 km/s:
/// dataset Michelso of NIST's Statistical Reference Datasets.
const MICHELSON: [u16; 100] = [
    85, 74, 90, 107, 93, 85, 95, 98, 98, 88, 100, 98, 93, 65, 76, 81, 100, 100, 96, 96, 96, 94, 96, 94, 88,
    80, 85, 88, 90, 84, 83, 79, 81, 88, 88, 83, 80, 79, 76, 80, 88, 88, 88, 86, 72, 72, 62, 86, 97, 95, 88,
    91, 85, 87, 84, 84, 85, 84, 84, 84, 89, 81, 81, 82, 80, 77, 76, 74, 75, 76, 91, 92, 89, 86, 88, 72, 84,
    85, 85, 78, 89, 84, 78, 81, 76, 81, 79, 81, 82, 85, 87, 87, 81, 74, 81, 94, 95, 80, 81, 87,
];

#[test]
fn nist_michelson_certified_values() {
    let samples: Vec<f64> = MICHELSON.iter().map(|&above| (29_900.0 + f64::from(above)) / 100.0).collect();
    let summary = Summary::from_samples(&samples).unwrap();
    assert!((summary.mean - 299.852_4).abs() < 1e-12, "{}", summary.mean);
    let stddev = summary.stddev.unwrap();
    assert!((stddev - 0.079_010_547_819_051_8).abs() < 1e-14, "{stddev}");
    assert_eq!((summary.count, summary.min, summary.median, summary.max), (100, 299.62, 299.85, 300.07));
    assert!(summary.p99.supported);
    assert_eq!(summary.median_ci95_method, MedianMethod::BcaBootstrap);
}

#[test]
fn a_small_set_worked_by_hand() {
    let summary = Summary::from_samples(&[9.0, 2.0, 4.0, 30.0, 4.0, 5.0, 4.0, 7.0]).unwrap();
    assert_eq!((summary.count, summary.min, summary.max, summary.mean), (8, 2.0, 30.0, 8.125));
    assert_eq!((summary.median, summary.p50.value, summary.p90.value), (4.0, 4.0, 30.0));
    // Distances to 4: 0 0 0 1 2 3 5 26.
    assert_eq!(summary.mad, 1.0);
    // Quartiles 4 and 7: fences at -5, -0.5, 11.5 and 16.
    assert_eq!((summary.outliers.high_severe, summary.outliers.total()), (1, 1));
    assert!(summary.p50.supported && !summary.p90.supported && !summary.p99.supported);
    let interval = summary.median_ci95.unwrap();
    assert_eq!((interval.low, interval.high, interval.level), (2.0, 5.0, 0.95));
    let exact = summary.median_ci95_exact.unwrap();
    assert_eq!((exact.low, exact.high, exact.level), (2.0, 30.0, 0.95));
}

#[test]
fn one_sample_is_all_there_is_to_say() {
    let summary = Summary::from_samples(&[12.5]).unwrap();
    assert_eq!((summary.min, summary.mean, summary.median, summary.max), (12.5, 12.5, 12.5, 12.5));
    assert_eq!((summary.stddev, summary.mad, summary.median_ci95), (None, 0.0, None));
    assert_eq!(summary.median_ci95_method, MedianMethod::TooFewSamples);
    assert!(!summary.p50.supported);
}

#[test]
fn equal_samples_have_no_spread() {
    for n in [6, 99, 100, 1001] {
        let summary = Summary::from_samples(&vec![0.1; n]).unwrap();
        assert_eq!((summary.mean, summary.stddev, summary.mad), (0.1, Some(0.0), 0.0));
        let interval = summary.median_ci95.unwrap();
        assert_eq!((interval.low, interval.high), (0.1, 0.1));
        assert_eq!(summary.outliers.total(), 0);
    }
}

#[test]
fn samples_that_are_no_measurements_are_refused() {
    assert_eq!(Summary::from_samples(&[]).unwrap_err(), StatsError::Empty);
    let error = Summary::from_samples(&[1.0, f64::INFINITY]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot use sample 1: inf is not a finite number; failures must not enter the samples"
    );
}

#[test]
fn written_and_read_back_is_the_same_summary() {
    let samples: Vec<f64> = (0..128).map(f64::from).collect();
    for samples in [&samples[..1], &samples[..8], &samples] {
        let summary = Summary::from_samples(samples).unwrap();
        let text =
            serde_json::to_string(&Summary { stddev: summary.stddev.map(f64::round), ..summary }).unwrap();
        let read: Summary = serde_json::from_str(&text).unwrap();
        assert_eq!(read, Summary { stddev: summary.stddev.map(f64::round), ..summary });
    }
    let text = serde_json::to_value(Summary::from_samples(&samples).unwrap()).unwrap();
    assert_eq!(text["median_ci95_method"], "bca-bootstrap");
    assert_eq!(text["p99"]["supported"], true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_the_definitions(samples in prop::collection::vec(-1e4..1e4f64, 2..300)) {
        let summary = Summary::from_samples(&samples).unwrap();
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let mean = samples.iter().sum::<f64>() / n as f64;
        let variance = samples.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
        prop_assert!((summary.mean - mean).abs() < 1e-9);
        prop_assert!((summary.stddev.unwrap() - variance.sqrt()).abs() < 1e-9);
        prop_assert_eq!(summary.median, sorted[(n - 1) / 2]);
        let mut distances: Vec<f64> = sorted.iter().map(|value| (value - summary.median).abs()).collect();
        distances.sort_by(f64::total_cmp);
        prop_assert_eq!(summary.mad, distances[(n - 1) / 2]);
        for found in [summary.p50, summary.p90, summary.p95, summary.p99] {
            prop_assert_eq!(found, percentile(&samples, found.p).unwrap());
        }
        let [first, third] = [25.0, 75.0].map(|p| percentile(&samples, p).unwrap().value);
        let beyond = |ranges: f64| {
            let margin = ranges * (third - first);
            samples.iter().filter(|&&value| value < first - margin || value > third + margin).count() as u64
        };
        prop_assert_eq!(summary.outliers.total(), beyond(1.5));
        prop_assert_eq!(summary.outliers.low_severe + summary.outliers.high_severe, beyond(3.0));
    }

    #[test]
    fn figures_stay_within_the_samples_and_in_order(samples in prop::collection::vec(-1e4..1e4f64, 1..300)) {
        let s = Summary::from_samples(&samples).unwrap();
        prop_assert!(s.min <= s.mean && s.mean <= s.max);
        prop_assert!([s.min, s.p50.value, s.p90.value, s.p95.value, s.p99.value, s.max].is_sorted());
        prop_assert!(s.stddev.is_none_or(|stddev| stddev <= s.max - s.min) && s.mad <= s.max - s.min);
        prop_assert_eq!(s.median_ci95.is_some(), samples.len() >= 6);
        if let Some(interval) = s.median_ci95 {
            prop_assert!(interval.contains(s.median));
            prop_assert!(samples.contains(&interval.low) && samples.contains(&interval.high));
        }
    }

    #[test]
    fn order_plays_no_part(
        (samples, shuffled) in prop::collection::vec(-1e4..1e4f64, 1..200)
            .prop_flat_map(|samples| (Just(samples.clone()), Just(samples).prop_shuffle()))
    ) {
        prop_assert_eq!(Summary::from_samples(&samples).unwrap(), Summary::from_samples(&shuffled).unwrap());
    }

    /// A change of unit by a power of two is exact, so every figure changes by exactly that factor.
    #[test]
    fn a_change_of_unit_passes_through(samples in prop::collection::vec(-1e4..1e4f64, 1..200)) {
        let scaled: Vec<f64> = samples.iter().map(|value| value * 1024.0).collect();
        let (before, after) = (Summary::from_samples(&samples).unwrap(), Summary::from_samples(&scaled).unwrap());
        prop_assert_eq!(after.mean, before.mean * 1024.0);
        prop_assert_eq!(after.stddev, before.stddev.map(|stddev| stddev * 1024.0));
        prop_assert_eq!(after.mad, before.mad * 1024.0);
        prop_assert_eq!(after.p95.value, before.p95.value * 1024.0);
        prop_assert_eq!(after.outliers, before.outliers);
        let ends = |summary: &Summary| summary.median_ci95.map(|interval| (interval.low, interval.high));
        prop_assert_eq!(ends(&after), ends(&before).map(|(low, high)| (low * 1024.0, high * 1024.0)));
    }
}

/// Latencies with a long tail: exponential with mean 1, whose median is ln 2.
fn skewed(rng: &mut Xoshiro256PlusPlus, n: usize) -> Vec<f64> {
    (0..n).map(|_| -((rng.next_u64() >> 11) as f64 + 0.5).ln() + 53.0 * std::f64::consts::LN_2).collect()
}

fn share_covering(trials: u32, covers: impl FnMut(u32) -> bool) -> f64 {
    f64::from((0..trials).map(covers).filter(|&covered| covered).count() as u32) / f64::from(trials)
}

#[test]
fn the_interval_of_a_skewed_median_covers_it() {
    for (n, trials) in [(30, 1000), (150, 400)] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(DEFAULT_SEED);
        let covered = share_covering(trials, |_| {
            let summary = Summary::from_samples(&skewed(&mut rng, n)).unwrap();
            summary.median_ci95.unwrap().contains(std::f64::consts::LN_2)
        });
        assert!((0.92..0.985).contains(&covered), "{n} samples: {covered}");
    }
}

#[test]
fn the_interval_of_a_skewed_ratio_covers_it() {
    for (n, m) in [(10, 10), (30, 20), (60, 60)] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(DEFAULT_SEED);
        let covered = share_covering(300, |_| {
            let slower: Vec<f64> = skewed(&mut rng, n).iter().map(|value| value * 1.25).collect();
            ratio_of_medians(&slower, &skewed(&mut rng, m), 0.95).unwrap().interval.contains(1.25)
        });
        assert!((0.90..0.99).contains(&covered), "{n} and {m} samples: {covered}");
    }
}

#[test]
fn the_drawn_bootstrap_of_a_skewed_median_covers_it() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(DEFAULT_SEED);
    let median = |part: &[f64]| {
        let mut part = part.to_vec();
        let middle = (part.len() - 1) / 2;
        *part.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    let covered = share_covering(400, |seed| {
        let samples = skewed(&mut rng, 30);
        bca(&samples, median, 0.95, 200, u64::from(seed)).unwrap().contains(std::f64::consts::LN_2)
    });
    assert!((0.90..0.99).contains(&covered), "{covered}");
}
