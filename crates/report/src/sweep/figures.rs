//! The figures of a sweep.

use virtmark_model::Unit;
use virtmark_scenarios::sweep::Sweep;
use virtmark_scenarios::sweep::levels::{LevelFigures, Series, Spread};
use virtmark_stats::knee::{Coefficients, Method, UslFit};

use crate::figure::{Figure, Plot, Xy, XyAxis, XyKey, XyPanel, XyPoint, XyScale, XyShape, XySign, XyTrace};
use crate::format;

/// Warnings below a figure.
const MOST_WARNINGS: usize = 3;
/// Points of a fitted curve.
const CURVE_POINTS: u32 = 160;
/// Dashes of fitted curves and of what would be ideal.
const FITTED: usize = 1;
const IDEAL: usize = 2;
/// The colour of what was not measured: grey.
const GREY: usize = 6;

/// Said where software executed guest code; what exactly did is told with the platform.
const EMULATION: &str =
    "Emulated: compare levels and runs on this host only, not with hardware virtualisation.";

/// Said of repeats.
const REPEATS: &str =
    "Points are medians over the runs of a level; bars reach from the lowest run to the highest.";

/// A figure with the name of its files.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedFigure {
    /// `qps_vs_concurrency`, without an extension.
    pub name: &'static str,
    /// The figure.
    pub figure: Figure,
}

/// The figures of a sweep: `qps_vs_concurrency`, `latency_vs_concurrency`, `qps_vs_p99`, and `scaling_vs_vcpus` when there
/// are several sizes. Levels of an open loop are `qps_vs_rate` and `latency_vs_rate`.
pub fn figures(sweep: &Sweep) -> Vec<NamedFigure> {
    let mut figures = Vec::new();
    for open_loop in [false, true] {
        let of_kind: Vec<&Series> =
            sweep.series.iter().filter(|series| series.key.open_loop == open_loop).collect();
        if of_kind.is_empty() {
            continue;
        }
        let names = match open_loop {
            false => ["qps_vs_concurrency", "latency_vs_concurrency"],
            true => ["qps_vs_rate", "latency_vs_rate"],
        };
        figures.push(NamedFigure { name: names[0], figure: throughput(&of_kind) });
        if of_kind
            .iter()
            .flat_map(|series| &series.levels)
            .any(|level| percentiles(level).iter().any(Option::is_some))
        {
            figures.push(NamedFigure { name: names[1], figure: latency(&of_kind) });
        }
    }
    if sweep.series.iter().flat_map(|series| &series.levels).any(|level| trade(level).is_some()) {
        figures.push(NamedFigure { name: "qps_vs_p99", figure: trade_off(sweep) });
    }
    if !sweep.scaling().is_empty() {
        figures.push(NamedFigure { name: "scaling_vs_vcpus", figure: scaling(sweep) });
    }
    for named in &mut figures {
        named.figure.notes.extend(warnings(sweep));
    }
    figures
}

/// The first warnings, and how many more there are.
fn warnings(sweep: &Sweep) -> Vec<String> {
    let mut notes: Vec<String> =
        sweep.warnings.iter().take(MOST_WARNINGS).map(|warning| format!("Warning: {warning}.")).collect();
    let more = sweep.warnings.len().saturating_sub(MOST_WARNINGS);
    if more > 0 {
        notes.push(format!("Warnings beyond these: {more}; the summary has them."));
    }
    notes
}

/// Throughput by level, with the fitted law, the knee, and where to run.
fn throughput(all: &[&Series]) -> Figure {
    let open_loop = all[0].key.open_loop;
    let alone = all.len() == 1;
    let mut legend = Vec::new();
    let mut panel = XyPanel::default();
    for (colour, series) in all.iter().enumerate() {
        let mut points: Vec<XyPoint> =
            series.levels.iter().filter_map(|level| Some(point(level.level, level.qps?))).collect();
        let knee = series.knee().map(f64::from);
        for point in &mut points {
            point.ringed = knee == Some(point.x);
        }
        let law = series.analysis.found().and_then(|analysis| analysis.usl.found());
        panel.traces.extend(law.and_then(|law| curve(law, series, colour)));
        panel.traces.push(XyTrace { colour, dashes: 0, shape: XyShape::Line, points });
        let knee_said = match series.knee() {
            Some(knee) => format!("knee at {}", format::count(f64::from(knee))),
            None => "no knee in range".into(),
        };
        let said = if alone { "measured".into() } else { format!("{}: {knee_said}", series.label) };
        legend.push(XyKey { sign: XySign::Line(0), colour, said });
    }
    if open_loop {
        panel.traces.insert(0, offered(all));
        legend.push(key(XySign::Curve(IDEAL), GREY, "as many as were offered"));
    }
    if panel.traces.iter().any(|trace| trace.dashes == FITTED) {
        let law = all[0].analysis.found().and_then(|analysis| analysis.usl.found()).filter(|_| alone);
        let said = law.map_or_else(|| "Universal Scalability Law, fitted to each".into(), law_said);
        legend.push(XyKey { sign: XySign::Curve(FITTED), colour: 0, said });
    }
    if all.iter().any(|series| series.knee().is_some()) {
        let said = "knee by the rule: after it throughput gains less than 5 % while p99 grows over 1.5 times";
        legend.push(key(XySign::Ring, 0, said));
    }
    if alone {
        panel.rule = all[0].knee().map(|knee| (f64::from(knee), knee_name(knee)));
        if let Some(range) = all[0].analysis.found().and_then(|analysis| analysis.recommendation.found()) {
            panel.band = Some((f64::from(range.from), f64::from(range.to)));
            let mut said = format!(
                "where to run: {}, 50 to 75 % of the knee by {}",
                whole_range(range.from, range.to),
                match range.method {
                    Method::UslPeak => "the fitted law's peak".to_owned(),
                    method => method.to_string(),
                }
            );
            if range.limited_by_slo.is_some() {
                said.push_str(", lowered to keep the objective");
            }
            legend.push(key(XySign::Band, 0, &said));
        }
    }
    Figure {
        title: title("Throughput", all),
        notes: notes_of(all),
        plot: Plot::Xy(Xy {
            across: level_axis(all),
            up: axis("throughput", Unit::PerSecond, XyScale::FromZero),
            legend,
            panels: vec![panel],
        }),
    }
}

/// Percentiles of latency by level, a panel for each series.
fn latency(all: &[&Series]) -> Figure {
    let names = ["p50", "p90", "p99"];
    // The tail is solid.
    let dashes = |position: usize| names.len() - 1 - position;
    let mut shown = [false; 3];
    let panels = all.iter().map(|series| {
        let mut traces = Vec::new();
        for (position, shown) in shown.iter_mut().enumerate() {
            let of = |level: &LevelFigures| Some(point(level.level, percentiles(level)[position]?));
            let points: Vec<XyPoint> = series.levels.iter().filter_map(of).collect();
            *shown |= !points.is_empty();
            traces.push(XyTrace { colour: position, dashes: dashes(position), shape: XyShape::Line, points });
        }
        XyPanel {
            title: Some(series.label.clone()).filter(|label| !label.is_empty()),
            rule: series.knee().map(|knee| (f64::from(knee), knee_name(knee))),
            traces,
            band: None,
        }
    });
    let panels = panels.collect();
    let missing: Vec<&str> =
        names.iter().zip(&shown).filter(|(_, shown)| !**shown).map(|(name, _)| *name).collect();
    let shown = names.iter().enumerate().filter(|(position, _)| shown[*position]);
    let legend = shown.map(|(position, name)| key(XySign::Line(dashes(position)), position, name));
    let mut notes = notes_of(all);
    if !missing.is_empty() {
        notes.insert(0, format!("Not measured: {}.", missing.join(", ")));
    }
    if all.iter().flat_map(|series| &series.levels).any(|level| level.p99_of_few) {
        notes.push("Some p99 are of fewer than 100 requests, too few for one.".into());
    }
    Figure {
        title: title("Latency of requests that succeeded", all),
        notes,
        plot: Plot::Xy(Xy {
            across: level_axis(all),
            up: axis("latency", Unit::Ns, XyScale::Logarithmic),
            legend: legend.collect(),
            panels,
        }),
    }
}

/// Throughput against tail latency: levels that no other beats in both, and the rest.
fn trade_off(sweep: &Sweep) -> Figure {
    let all: Vec<&Series> = sweep.series.iter().collect();
    let alone = all.len() == 1;
    let mut legend = Vec::new();
    let mut panel = XyPanel::default();
    let mut beaten_anywhere = false;
    for (colour, series) in all.iter().enumerate() {
        let points: Vec<(f64, Spread, Spread)> = series
            .levels
            .iter()
            .filter_map(|level| trade(level).map(|(qps, p99)| (level.level, qps, p99)))
            .collect();
        let figures: Vec<(f64, f64)> = points.iter().map(|(_, qps, p99)| (qps.median, p99.median)).collect();
        let knee = series.knee().map(f64::from);
        let (mut front, mut beaten) = (Vec::new(), Vec::new());
        for (index, (level, qps, p99)) in points.iter().enumerate() {
            let drawn = XyPoint {
                x: p99.median,
                y: qps.median,
                x_range: Some((p99.low, p99.high)).filter(|_| alone),
                y_range: Some((qps.low, qps.high)).filter(|_| alone),
                label: Some(format::count(*level)),
                ringed: knee == Some(*level),
            };
            if is_beaten(figures[index], &figures) { beaten.push(drawn) } else { front.push(drawn) }
        }
        front.sort_by(|a, b| a.x.total_cmp(&b.x));
        beaten_anywhere |= !beaten.is_empty();
        let said = if alone {
            "Pareto front: no other level has both more throughput and a lower p99"
        } else {
            &series.label
        };
        legend.push(key(XySign::Line(0), colour, said));
        panel.traces.push(XyTrace { colour, dashes: 0, shape: XyShape::Line, points: front });
        panel.traces.push(XyTrace { colour, dashes: 0, shape: XyShape::Hollow, points: beaten });
    }
    if !alone {
        let said =
            "lines are Pareto fronts: no other level of the size has both more throughput and a lower p99";
        legend.push(key(XySign::Line(0), GREY, said));
    }
    if beaten_anywhere {
        legend.push(key(XySign::Hollow, if alone { 0 } else { GREY }, "levels that another beats in both"));
    }
    if all.iter().any(|series| series.knee().is_some()) {
        legend.push(key(XySign::Ring, if alone { 0 } else { GREY }, "knee by the rule"));
    }
    let mut notes = notes_of(&all);
    // Among so many points no bars are drawn.
    if let Some(said) = notes.iter_mut().find(|note| !alone && *note == REPEATS) {
        *said = "Points are medians over the runs of a level.".into();
    }
    let level = all[0].key.level_name();
    notes.insert(0, format!("The number beside a point, where there is room, is its {level}."));
    Figure {
        title: title("Throughput against tail latency", &all),
        notes,
        plot: Plot::Xy(Xy {
            across: axis("p99 latency", Unit::Ns, XyScale::Logarithmic),
            up: axis("throughput", Unit::PerSecond, XyScale::FromZero),
            legend,
            panels: vec![panel],
        }),
    }
}

/// The best throughput of each size, and what it would be if it grew with the size.
fn scaling(sweep: &Sweep) -> Figure {
    let all: Vec<&Series> = sweep.series.iter().collect();
    let reached = sweep.scaling();
    let points = reached.iter().enumerate().map(|(index, at)| XyPoint {
        label: (index > 0).then(|| format!("× {:.2}", at.speedup)),
        ..point(f64::from(at.vcpus), at.qps)
    });
    let ideal = |vcpus: f64| XyPoint {
        x: vcpus,
        y: reached[0].qps.median * vcpus / f64::from(reached[0].vcpus),
        ..XyPoint::default()
    };
    let largest = f64::from(reached[reached.len() - 1].vcpus);
    let traces = vec![
        XyTrace {
            colour: GREY,
            dashes: IDEAL,
            shape: XyShape::Curve,
            points: vec![ideal(0.0), ideal(largest)],
        },
        XyTrace { colour: 0, dashes: 0, shape: XyShape::Line, points: points.collect() },
    ];
    let levels: Vec<String> =
        reached.iter().map(|at| format!("{} at {}", format::count(at.level), at.vcpus)).collect();
    let mut notes = notes_of(&all);
    notes.insert(
        0,
        format!("The {} that reached most, by vCPUs: {}.", all[0].key.level_name(), levels.join(", ")),
    );
    let across = XyAxis {
        ticks: reached.iter().map(|at| f64::from(at.vcpus)).collect(),
        ..axis("vCPUs", Unit::Count, XyScale::FromZero)
    };
    Figure {
        title: title("Best throughput by size", &all),
        notes,
        plot: Plot::Xy(Xy {
            across,
            up: axis("throughput", Unit::PerSecond, XyScale::FromZero),
            legend: vec![
                key(XySign::Line(0), 0, "best level of each size, and how many times the smallest"),
                key(XySign::Curve(IDEAL), GREY, "in proportion to the smallest"),
            ],
            panels: vec![XyPanel { traces, ..XyPanel::default() }],
        }),
    }
}

/// Whether another point has at least as much throughput at no higher p99, and is better in one.
fn is_beaten(point: (f64, f64), all: &[(f64, f64)]) -> bool {
    all.iter()
        .any(|other| other.0 >= point.0 && other.1 <= point.1 && (other.0 > point.0 || other.1 < point.1))
}

/// Throughput and p99 of a level, where it has both.
fn trade(level: &LevelFigures) -> Option<(Spread, Spread)> {
    Some((level.qps?, level.p99_ns?))
}

fn percentiles(level: &LevelFigures) -> [Option<Spread>; 3] {
    [level.p50_ns, level.p90_ns, level.p99_ns]
}

fn point(x: f64, spread: Spread) -> XyPoint {
    XyPoint { x, y: spread.median, y_range: Some((spread.low, spread.high)), ..XyPoint::default() }
}

/// The fitted law over the levels measured.
fn curve(law: &UslFit, series: &Series, colour: usize) -> Option<XyTrace> {
    let measured = || series.levels.iter().filter(|level| level.qps.is_some()).map(|level| level.level);
    let (low, high) = (measured().next()?, measured().next_back()?);
    let at = |step: u32| {
        let x = low * (high / low).powf(f64::from(step) / f64::from(CURVE_POINTS));
        XyPoint { x, y: law.coefficients.throughput(x), ..XyPoint::default() }
    };
    let points = (0..=CURVE_POINTS).map(at).collect();
    Some(XyTrace { colour, dashes: FITTED, shape: XyShape::Curve, points })
}

fn law_said(law: &UslFit) -> String {
    let Coefficients { lambda, sigma, kappa } = law.coefficients;
    let fit = law.r_squared.map_or_else(String::new, |share| format!(", R² = {share:.3}"));
    format!(
        "Universal Scalability Law, fitted: λ = {}, σ = {sigma:.4}, κ = {kappa:.2e}{fit}",
        format::per_second(lambda)
    )
}

/// Throughput that equals the rate.
fn offered(all: &[&Series]) -> XyTrace {
    let levels = all.iter().flat_map(|series| &series.levels).map(|level| level.level);
    let (low, high) =
        levels.fold((f64::INFINITY, 0.0f64), |(low, high), level| (low.min(level), high.max(level)));
    let at = |step: u32| {
        let x = low * (high / low).powf(f64::from(step) / f64::from(CURVE_POINTS));
        XyPoint { x, y: x, ..XyPoint::default() }
    };
    let points = (0..=CURVE_POINTS).map(at).collect();
    XyTrace { colour: GREY, dashes: IDEAL, shape: XyShape::Curve, points }
}

fn level_axis(all: &[&Series]) -> XyAxis {
    let mut ticks: Vec<f64> = all.iter().flat_map(|series| &series.levels).map(|level| level.level).collect();
    ticks.sort_unstable_by(f64::total_cmp);
    ticks.dedup();
    let name =
        if all[0].key.open_loop { "requests offered per second" } else { "requests in flight (concurrency)" };
    XyAxis { ticks, ..axis(name, Unit::Count, XyScale::Logarithmic) }
}

fn axis(name: &str, unit: Unit, scale: XyScale) -> XyAxis {
    XyAxis { name: name.into(), unit, scale, ticks: Vec::new() }
}

fn key(sign: XySign, colour: usize, said: &str) -> XyKey {
    XyKey { sign, colour, said: said.into() }
}

fn knee_name(knee: u32) -> String {
    format!("knee: {}", format::count(f64::from(knee)))
}

fn whole_range(from: u32, to: u32) -> String {
    let said = |level: u32| format::count(f64::from(level));
    if from == to { said(from) } else { format!("{} to {}", said(from), said(to)) }
}

fn title(what: &str, all: &[&Series]) -> String {
    let mut plans: Vec<&str> = all.iter().map(|series| series.key.plan.as_str()).collect();
    plans.dedup();
    let size = match all {
        [series] => {
            series.key.vcpus.map(|vcpus| format!(", {vcpus} vCPU{}", if vcpus == 1 { "" } else { "s" }))
        }
        _ => None,
    };
    format!("{what}: {}{}", plans.join(", "), size.unwrap_or_default())
}

/// What must be known to read the figure.
fn notes_of(all: &[&Series]) -> Vec<String> {
    let mut notes = Vec::new();
    if all.iter().any(|series| series.repeated()) {
        notes.push(REPEATS.into());
    }
    let failed: usize = all.iter().flat_map(|series| &series.levels).map(|level| level.failed.len()).sum();
    if failed > 0 {
        let plural = if failed == 1 { "run failed and is" } else { "runs failed and are" };
        notes.push(format!("{failed} {plural} not shown."));
    }
    for series in all {
        if let [series] = all
            && let Some(reason) = series.analysis.found().and_then(|analysis| analysis.rule.reason())
        {
            notes.push(format!("No knee by the rule: {reason}."));
        }
        if let Some(reason) = series.analysis.reason() {
            notes.push(format!("No knee: {reason}."));
        }
    }
    let mut platforms: Vec<&str> = all.iter().filter_map(|series| series.platform.as_deref()).collect();
    platforms.dedup();
    if !platforms.is_empty() {
        notes.push(format!("On {}.", platforms.join("; ")));
    }
    if all.iter().any(|series| series.emulated) {
        notes.push(EMULATION.into());
    }
    notes
}
