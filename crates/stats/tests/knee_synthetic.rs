//! Knees of curves whose answers are known.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use virtmark_stats::knee::{
    Analysis, Assessment, Coefficients, Finding, IntervalMethod, Latency, LevelRun, Levels, Method, Options,
    UslFit, analyse, assess, highest_keeping,
};

const DOUBLING: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// A closed loop: by Little's law each of N requests takes N / X.
fn run(concurrency: u32, throughput: f64) -> LevelRun {
    let mean_ns = (f64::from(concurrency) / throughput * 1e9) as u64;
    let latency = Latency { p50_ns: mean_ns, p90_ns: mean_ns * 2, p99_ns: mean_ns * 3, max_ns: mean_ns * 4 };
    LevelRun { concurrency, throughput, latency: Some(latency), error_ratio: Some(0.0) }
}

fn levels(concurrencies: &[u32], throughput: impl Fn(f64) -> f64) -> Levels {
    Levels::new(concurrencies.iter().map(|&n| run(n, throughput(f64::from(n))))).unwrap()
}

fn analysis(levels: &Levels) -> Analysis {
    analyse(levels, &Options { resamples: 60, ..Options::default() })
}

fn uniform(rng: &mut Xoshiro256PlusPlus) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Irwin–Hall with 12 terms: near enough to a standard normal variable.
fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_linear_curve_has_no_knee(lambda in 0.5f64..1e5) {
        let levels = levels(&DOUBLING, |n| lambda * n);
        let analysis = analysis(&levels);
        prop_assert!(analysis.rule.reason().unwrap().contains("still grows by 100.0 % from 64 to 128"));
        prop_assert!(analysis.kneedle.reason().unwrap().contains("does not bend"));
        // Rounding can leave a trace of coherency cost; then its peak is far away.
        let law = analysis.usl.found().unwrap();
        prop_assert!(law.peak.found().is_none() && law.r_squared.unwrap() > 0.999_999);
        prop_assert_eq!(analysis.recommendation.reason(), Some("no method found a knee"));
        prop_assert!(analysis.levels.iter().all(|level| matches!(
            level.assessment,
            Assessment::Underutilised | Assessment::NearLinear
        )));
    }

    #[test]
    fn a_curve_that_saturates_has_its_knee_there(lambda in 0.5f64..1e5, exponent in 1usize..7) {
        let capacity = DOUBLING[exponent];
        let levels = levels(&DOUBLING, |n| lambda * n.min(f64::from(capacity)));
        let analysis = analysis(&levels);
        prop_assert_eq!(analysis.rule.found().unwrap().concurrency, capacity);
        prop_assert_eq!(analysis.recommendation.found().unwrap().method, Method::Rule);
        // Kneedle asks for room to fall below the threshold after the knee.
        if capacity <= 32 {
            prop_assert_eq!(analysis.kneedle.found().unwrap().concurrency, capacity);
        }
        for level in &analysis.levels {
            let above = matches!(
                level.assessment,
                Assessment::OverSaturated | Assessment::SeverelyOverSaturated
            );
            prop_assert_eq!(level.assessment == Assessment::Saturated, level.concurrency == capacity);
            prop_assert_eq!(above, level.concurrency > capacity);
        }
    }

    #[test]
    fn a_retrograde_curve_peaks_where_its_law_does(
        lambda in 1.0f64..1e4, sigma in 0.0f64..0.2, peak in 3.0f64..100.0,
    ) {
        let truth = Coefficients { lambda, sigma, kappa: (1.0 - sigma) / (peak * peak) };
        let levels = levels(&DOUBLING, |n| truth.throughput(n));
        let analysis = analysis(&levels);
        let found = analysis.usl.found().unwrap().peak.found().unwrap();
        prop_assert!((found.concurrency / peak - 1.0).abs() < 1e-4, "{:?}", found);
        prop_assert!(found.interval.low <= peak * 1.001 && found.interval.high >= peak * 0.999);
        if let Finding::Found(knee) = &analysis.rule {
            prop_assert!(f64::from(knee.concurrency) <= peak * 1.5, "{:?}", knee);
        }
    }

    #[test]
    fn any_curve_is_analysed_without_contradiction(
        rows in prop::collection::vec((1u32..200, 0.0f64..1e4, 0u64..1_000_000), 1..16),
        limit in 1u64..1_000_000,
    ) {
        let levels = Levels::new(rows.iter().map(|&(concurrency, throughput, p99_ns)| LevelRun {
            concurrency,
            throughput,
            latency: Some(Latency { p50_ns: 0, p90_ns: 0, p99_ns, max_ns: p99_ns }),
            error_ratio: None,
        })).unwrap();
        let slo = format!("p99<{limit}ns").parse().unwrap();
        let options = Options { slo: Some(slo), resamples: 40, ..Options::default() };
        let analysis = analyse(&levels, &options);
        prop_assert_eq!(&analysis, &analyse(&levels, &options));
        let measured: Vec<u32> = levels.as_slice().iter().map(|level| level.concurrency()).collect();
        if let Finding::Found(knee) = &analysis.rule {
            prop_assert!(measured.contains(&knee.concurrency) && measured.contains(&knee.compared_with));
            prop_assert!(knee.throughput_gain < 0.05 && knee.p99_growth > 1.5);
        }
        if let Finding::Found(knee) = &analysis.kneedle {
            prop_assert!(measured[1..measured.len() - 1].contains(&knee.concurrency));
        }
        let expected = measured.iter().rev().find(|&&level| {
            rows.iter().filter(|row| row.0 == level).all(|row| row.2 < limit)
        });
        let found = analysis.slo_level.as_ref().unwrap().found().map(|level| level.concurrency);
        prop_assert_eq!(found, expected.copied());
        if let Finding::Found(range) = &analysis.recommendation {
            prop_assert!(1 <= range.from && range.from <= range.to);
            prop_assert!(f64::from(range.to) <= range.knee && Some(range.to) <= found);
        }
        let json = serde_json::to_value(&analysis).unwrap();
        prop_assert_eq!(serde_json::from_value::<Analysis>(json).unwrap(), analysis);
    }
}

#[test]
fn too_few_levels_are_refused_with_the_reason() {
    let reasons = |count: usize| {
        let analysis = analysis(&levels(&DOUBLING[..count], |n| 100.0 * n));
        let reason = |text: Option<&str>| text.unwrap().to_owned();
        [reason(analysis.rule.reason()), reason(analysis.kneedle.reason()), reason(analysis.usl.reason())]
    };
    let [rule, kneedle, usl] = reasons(1);
    assert!(rule.ends_with("needs 2 of them; there is 1"), "{rule}");
    assert!(kneedle.ends_with("needs 3 levels to bend; there is 1"), "{kneedle}");
    assert!(usl.ends_with("fewer than 4 levels; there is 1"), "{usl}");
    let [_, kneedle, usl] = reasons(2);
    assert!(kneedle.ends_with("there are 2") && usl.ends_with("there are 2"));
    assert!(analysis(&levels(&DOUBLING[..4], |n| 100.0 * n)).usl.found().is_some());
}

#[test]
fn a_service_that_only_gets_slower_has_its_knee_at_the_start() {
    let analysis = analysis(&levels(&DOUBLING, |n| 1000.0 / n));
    assert_eq!(analysis.rule.found().unwrap().concurrency, 1);
    assert!(analysis.kneedle.reason().unwrap().contains("highest at the lowest level, 1"));
    assert!(analysis.usl.found().unwrap().peak.reason().unwrap().contains("falls from the lowest level, 1"));
    let range = analysis.recommendation.found().unwrap();
    assert_eq!((range.from, range.to), (1, 1));
    assert_eq!(analysis.levels[0].assessment, Assessment::Saturated);
}

#[test]
fn a_level_without_a_success_is_severely_over_saturated() {
    let dead = LevelRun { concurrency: 64, throughput: 0.0, latency: None, error_ratio: Some(1.0) };
    let alive = [1, 2, 4, 8, 16, 32].map(|n| run(n, f64::from(n.min(8)) * 10.0));
    let levels = Levels::new(alive.into_iter().chain([dead])).unwrap();
    let words: Vec<Assessment> = assess(&levels).iter().map(|level| level.assessment).collect();
    assert_eq!(
        words[3..],
        [
            Assessment::Saturated,
            Assessment::OverSaturated,
            Assessment::SeverelyOverSaturated,
            Assessment::SeverelyOverSaturated,
        ]
    );
    let nothing = Levels::new(DOUBLING.map(|concurrency| LevelRun { concurrency, ..dead })).unwrap();
    let analysis = analysis(&nothing);
    assert_eq!(analysis.usl.reason(), Some("no request succeeded at any level"));
    assert!(analysis.levels.iter().all(|level| {
        level.assessment == Assessment::SeverelyOverSaturated && level.efficiency.is_none()
    }));
}

#[test]
fn an_objective_is_kept_by_every_run_or_not_at_all() {
    let slow = LevelRun { error_ratio: Some(0.002), ..run(8, 800.0) };
    let uncounted = LevelRun { error_ratio: None, ..run(32, 3200.0) };
    let runs = [run(4, 400.0), run(8, 800.0), slow, run(16, 1600.0), uncounted];
    let levels = Levels::new(runs).unwrap();
    let found = highest_keeping(&levels, &"errors<0.1%,qps>10".parse().unwrap());
    assert_eq!(
        found.to_string(),
        "16 (errors<0.1% cannot be said of 32: errors was not measured); broken below it at 8"
    );
    let found = highest_keeping(&levels, &"qps>10".parse().unwrap());
    assert_eq!(found.to_string(), "32 (the highest level measured)");
}

#[test]
fn what_breaks_an_objective_is_told_in_as_many_digits_as_it_takes() {
    let told = |slo: &str, error_ratio| {
        let levels =
            Levels::new([run(4, 400.0), LevelRun { error_ratio: Some(error_ratio), ..run(8, 800.0) }]);
        highest_keeping(&levels.unwrap(), &slo.parse().unwrap()).to_string()
    };
    assert_eq!(told("errors<0.1%", 1.0 / 300.0), "4 (errors<0.1% is broken at 8: errors is 0.3333%)");
    assert_eq!(told("errors<0.1%", 0.001_000_01), "4 (errors<0.1% is broken at 8: errors is 0.100001%)");
}

#[test]
fn the_recommendation_keeps_the_objective() {
    // 10 ms up to 32 in flight, p99 30 ms; errors from 16 on.
    let levels = Levels::new(DOUBLING.map(|n| LevelRun {
        error_ratio: Some(if n >= 16 { 0.5 } else { 0.0 }),
        ..run(n, f64::from(n.min(32)) * 100.0)
    }))
    .unwrap();
    let options = Options { slo: Some("errors<1%".parse().unwrap()), resamples: 40, ..Options::default() };
    let recommendation = analyse(&levels, &options).recommendation;
    let range = recommendation.found().unwrap();
    assert_eq!((range.from, range.to, range.limited_by_slo), (8, 8, Some(8)));
    assert_eq!(
        recommendation.to_string(),
        "run at a concurrency of 8 (50 to 75 % of 32, the knee by the rule; lowered to 8, the highest level that keeps \
         the objective)"
    );
}

/// With noise of about one per cent of the peak the interval holds the true peak about as often as it says, with and without repeats.
#[test]
fn the_interval_of_the_peak_holds_the_truth_about_as_often_as_it_says() {
    let truth = Coefficients { lambda: 1000.0, sigma: 0.03, kappa: 0.0006 };
    let peak = truth.peak().unwrap();
    let data_sets = 120;
    for (repeats, method) in
        [(1, IntervalMethod::Residuals), (2, IntervalMethod::Repeats), (5, IntervalMethod::Repeats)]
    {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(20);
        let mut held = 0;
        for _ in 0..data_sets {
            let mut noisy = |n: u32| {
                let throughput = truth.throughput(f64::from(n)) + 150.0 * normal(&mut rng);
                run(n, throughput)
            };
            let runs: Vec<LevelRun> =
                DOUBLING.iter().flat_map(|&n| std::iter::repeat_n(n, repeats)).map(&mut noisy).collect();
            let fit = UslFit::new(&Levels::new(runs).unwrap(), 200, 7);
            if let Some(found) = fit.found().and_then(|law| law.peak.found()) {
                assert_eq!(found.interval_method, method);
                assert!((found.concurrency / peak - 1.0).abs() < 0.5, "{found:?}");
                held += usize::from(found.interval.contains(peak));
            }
        }
        let share = held as f64 / data_sets as f64;
        assert!((0.80..=1.0).contains(&share), "{repeats} repeats: {share}");
    }
}

#[test]
fn the_seed_alone_decides_the_interval() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let truth = Coefficients { lambda: 1000.0, sigma: 0.03, kappa: 0.0006 };
    let runs: Vec<LevelRun> =
        DOUBLING.map(|n| run(n, truth.throughput(f64::from(n)) * (1.0 + 0.02 * normal(&mut rng)))).to_vec();
    let levels = Levels::new(runs).unwrap();
    let interval = |seed| UslFit::new(&levels, 200, seed).found().unwrap().peak.found().unwrap().interval;
    assert_eq!(interval(1), interval(1));
    assert_ne!(interval(1), interval(2));
}

#[test]
fn an_interval_without_an_end_is_no_peak() {
    // The fit peaks in range, but noise of this size could hide that there is no peak.
    let rows = [(1, 100.0), (8, 900.0), (16, 1000.0), (32, 1900.0), (64, 1400.0), (128, 1800.0)];
    let levels = Levels::new(rows.map(|(n, x)| run(n, x))).unwrap();
    let fit = UslFit::new(&levels, 400, 1);
    let reason = fit.found().unwrap().peak.reason().unwrap();
    assert!(reason.contains("no finite end"), "{reason}");
    let few = UslFit::new(&levels, 39, 1);
    assert!(few.found().unwrap().peak.reason().unwrap().contains("39 resamples"));
}
