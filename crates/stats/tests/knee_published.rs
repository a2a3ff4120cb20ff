//! Knees against published data: the guide's table, and data sets of the Universal Scalability Law.

#![allow(clippy::unwrap_used)]

use virtmark_stats::knee::{
    Analysis, Assessment, Coefficients, Finding, IntervalMethod, Latency, LevelRun, Levels, Method, Options,
    UslFit, analyse, assess,
};

const RESAMPLES: u32 = 400;

fn throughputs(rows: &[(u32, f64)]) -> Levels {
    let run =
        |&(concurrency, throughput)| LevelRun { concurrency, throughput, latency: None, error_ratio: None };
    Levels::new(rows.iter().map(run)).unwrap()
}

fn law(rows: &[(u32, f64)]) -> UslFit {
    UslFit::new(&throughputs(rows), RESAMPLES, 1).found().unwrap().clone()
}

/// The example table of the guide to performance testing in a resource-capped machine: QPS, p50 and p99 in µs. It has
/// no p90 and no maximum; p99 stands in for both, which no method here looks at.
fn guide() -> Levels {
    let rows = [
        (1, 1200.0, 800, 1500),
        (4, 4500.0, 850, 1800),
        (8, 8200.0, 950, 2500),
        (16, 12_500.0, 1200, 5000),
        (32, 14_000.0, 2100, 15_000),
        (64, 14_200.0, 4200, 35_000),
        (128, 14_100.0, 8500, 80_000),
    ];
    Levels::new(rows.map(|(concurrency, throughput, p50_us, p99_us)| {
        let [p50_ns, p99_ns] = [p50_us * 1000, p99_us * 1000];
        let latency = Some(Latency { p50_ns, p90_ns: p99_ns, p99_ns, max_ns: p99_ns });
        LevelRun { concurrency, throughput, latency, error_ratio: Some(0.0) }
    }))
    .unwrap()
}

#[test]
fn the_guides_table_has_its_knee_at_32() {
    let options = Options {
        slo: Some("p99<20ms,errors<0.1%".parse().unwrap()),
        resamples: RESAMPLES,
        ..Options::default()
    };
    let analysis = analyse(&guide(), &options);
    let knee = analysis.rule.found().unwrap();
    assert_eq!((knee.concurrency, knee.compared_with), (32, 64));
    assert!(
        (knee.throughput_gain - 0.0143).abs() < 1e-4 && (knee.p99_growth - 2.333).abs() < 1e-3,
        "{knee:?}"
    );
    assert_eq!(analysis.rule.to_string(), "32 (to 64: throughput +1.4 %, p99 grows 2.3 times)");

    let recommendation = analysis.recommendation.found().unwrap();
    assert_eq!((recommendation.from, recommendation.to), (16, 24));
    assert_eq!((recommendation.method, recommendation.limited_by_slo), (Method::Rule, None));
    assert_eq!(
        analysis.recommendation.to_string(),
        "run at a concurrency of 16 to 24 (50 to 75 % of 32, the knee by the rule)"
    );
    assert_eq!(
        analysis.slo_level.as_ref().unwrap().to_string(),
        "32 (p99<20ms is broken at 64: p99 is 35ms)"
    );
}

#[test]
fn the_guides_table_has_its_assessments() {
    let found: Vec<(u32, String)> =
        assess(&guide()).iter().map(|level| (level.concurrency, level.assessment.to_string())).collect();
    let expected = [
        (1, "underutilised"),
        (4, "near-linear"),
        (8, "good"),
        (16, "starting to saturate"),
        (32, "saturated (knee)"),
        (64, "over-saturated"),
        (128, "severely over-saturated"),
    ];
    assert_eq!(found, expected.map(|(level, word)| (level, word.to_owned())));
    assert_eq!(serde_json::to_value(Assessment::Saturated).unwrap(), "saturated");
}

/// SPEC SDM91 on a Sun SPARCcenter 2000: data set `specsdm91` of the R package usl 3 (N. J. Gunther, S. Moeding), from
/// Guerrilla Capacity Planning. Coefficients and residuals as its README prints them, fitted values and the peak (97
/// to two figures) as its tests (`fitted.Rout.save`, `peak-scalability.Rout.save`) expect them.
#[test]
fn published_law_of_specsdm91() {
    let rows =
        [(1, 64.9), (18, 995.9), (36, 1652.4), (72, 1853.2), (108, 1828.9), (144, 1775.0), (216, 1702.2)];
    let law = law(&rows);
    let Coefficients { lambda, sigma, kappa } = law.coefficients;
    assert!((lambda - 89.995_233).abs() < 5e-5, "{lambda}");
    assert!((sigma - 0.027_728_5).abs() < 5e-8, "{sigma}");
    assert!((kappa - 0.000_104_4).abs() < 5e-8, "{kappa}");
    let fitted: Vec<f64> = law.points.iter().map(|point| point.fitted.round()).collect();
    assert_eq!(fitted, [90.0, 1078.0, 1541.0, 1850.0, 1879.0, 1822.0, 1646.0]);
    let residuals: Vec<f64> = law.points.iter().map(|point| point.residual()).collect();
    let least = residuals.iter().copied().fold(f64::INFINITY, f64::min);
    let most = residuals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!((least - -81.7).abs() < 0.05 && (most - 111.1).abs() < 0.05, "{residuals:?}");

    let peak = law.peak.found().unwrap();
    assert!((peak.concurrency - 97.0).abs() < 0.5, "{peak:?}");
    assert!(peak.interval.contains(peak.concurrency) && peak.interval.high < 216.0, "{peak:?}");
    assert_eq!(peak.interval_method, IntervalMethod::Residuals);
    assert!(law.r_squared.unwrap() > 0.98);
}

/// A ray tracer on an SGI Origin 2000: data set `raytracer` of the same package, from the same book. Its test
/// `confint.Rout.save` expects α = 0.0578, β = 0 and γ = 21.8488.
#[test]
fn published_law_of_the_ray_tracer_has_no_peak() {
    let rows = [
        (1, 20.0),
        (4, 78.0),
        (8, 130.0),
        (12, 170.0),
        (16, 190.0),
        (20, 200.0),
        (24, 210.0),
        (28, 230.0),
        (32, 260.0),
        (48, 280.0),
        (64, 310.0),
    ];
    let law = law(&rows);
    let Coefficients { lambda, sigma, kappa } = law.coefficients;
    assert!((lambda - 21.8488).abs() < 5e-5, "{lambda}");
    assert!((sigma - 0.0578).abs() < 5e-5, "{sigma}");
    assert_eq!(kappa, 0.0);
    assert!(law.peak.reason().unwrap().contains("κ = 0"), "{:?}", law.peak);
}

/// The data set in the tests of the Go package github.com/codahale/usl, from B. Schwartz, Practical Scalability Analysis
/// with the Universal Scalability Law; the coefficients, the peak (35, rounded down) and the throughputs at 20 and 35 are
/// what these tests expect.
#[test]
fn published_law_that_peaks_beyond_its_levels() {
    let throughput = [
        955.16, 1878.91, 2688.01, 3548.68, 4315.54, 5130.43, 5931.37, 6531.08, 7219.8, 7867.61, 8278.71,
        8646.7, 9047.84, 9426.55, 9645.37, 9897.24, 10097.6, 10240.5, 10532.39, 10798.52, 11151.43, 11518.63,
        11806.0, 12089.37, 12075.41, 12177.29, 12211.41, 12158.93, 12155.27, 12118.04, 12140.4, 12074.39,
    ];
    let rows: Vec<(u32, f64)> = (1..).zip(throughput).collect();
    let law = law(&rows);
    let Coefficients { lambda, sigma, kappa } = law.coefficients;
    assert!((lambda / 995.6486 - 1.0).abs() < 1e-5, "{lambda}");
    assert!((sigma / 0.026_715_91 - 1.0).abs() < 1e-5, "{sigma}");
    assert!((kappa / 7.690_945e-4 - 1.0).abs() < 1e-5, "{kappa}");
    assert_eq!(law.coefficients.peak().unwrap().floor(), 35.0);
    assert!((law.coefficients.throughput(20.0) / 11_063.633_125_704_36 - 1.0).abs() < 1e-5);
    assert!((law.coefficients.throughput(35.0) / 12_341.745_655_201_905 - 1.0).abs() < 1e-5);
    let reason = law.peak.reason().unwrap();
    assert!(reason.contains("peaks at 35.6, beyond the highest level, 32"), "{reason}");
}

/// The test data of `coef.Rout.save` of the R package usl: α = β = 0.02, γ = 1.
#[test]
fn published_law_of_exact_data() {
    let law = law(&[(1, 1.0), (2, 1.8868), (4, 3.0769), (6, 3.5294), (8, 3.5398), (10, 3.3557)]);
    let Coefficients { lambda, sigma, kappa } = law.coefficients;
    assert!((sigma - 0.02).abs() < 5e-5 && (kappa - 0.02).abs() < 5e-5 && (lambda - 1.0).abs() < 5e-4);
    let peak = law.peak.found().unwrap();
    assert!(
        (peak.concurrency - 7.0).abs() < 0.01 && peak.interval.low > 6.9 && peak.interval.high < 7.1,
        "{peak:?}"
    );
}

#[test]
fn findings_are_json_that_is_read_again() {
    let options =
        Options { slo: Some("p99<1ms".parse().unwrap()), resamples: RESAMPLES, ..Options::default() };
    let analysis = analyse(&guide(), &options);
    let json = serde_json::to_value(&analysis).unwrap();
    assert_eq!(json["rule"]["outcome"], "found");
    assert_eq!(json["rule"]["concurrency"], 32);
    assert_eq!(json["kneedle"]["concurrency"], 16);
    assert_eq!(json["slo"], "p99<1ms");
    assert_eq!(json["slo_level"]["outcome"], "none_in_range");
    let reason = json["slo_level"]["reason"].as_str().unwrap();
    assert_eq!(reason, "no level keeps p99<1ms; p99<1ms is broken at 1: p99 is 1.5ms");
    assert!(matches!(analysis.recommendation, Finding::NoneInRange { .. }));
    assert_eq!(serde_json::from_value::<Analysis>(json).unwrap(), analysis);
}
