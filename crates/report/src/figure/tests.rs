//! Golden drawings and the properties every drawing has.

use proptest::prelude::*;
use virtmark_model::Unit;
use virtmark_stats::{Interval, Summary};

use super::{
    Bar, Curve, Ecdf, Figure, Heat, HeatField, Lane, Line, LinePoint, Lines, Plot, Ramp, RampStrip, Stacked,
    StackedBar, StackedPart, Times, Waterfall,
};
use crate::markup::checker;

fn curve(name: &str, samples: &[f64]) -> Curve {
    let summary = Summary::from_samples(samples).ok();
    Curve {
        name: name.into(),
        samples: samples.to_vec(),
        median: summary.map(|summary| summary.median),
        median_interval: summary.and_then(|summary| summary.median_ci95),
    }
}

fn ecdf(curves: Vec<Curve>, logarithmic: bool) -> Figure {
    Figure {
        title: "Distribution of tti".into(),
        notes: vec!["Each step is a sample.".into()],
        plot: Plot::Ecdf(Ecdf { axis: "tti".into(), unit: Unit::Ns, logarithmic, curves }),
    }
}

fn bar(name: &str, start_ns: f64, duration_ns: f64) -> Bar {
    Bar { name: name.into(), start_ns, duration_ns }
}

/// 2026-01-02 03:04:05 UTC.
const MOMENT_NS: u64 = 1_767_323_045_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

fn line(name: &str, from_ns: u64, values: &[Option<f64>]) -> Line {
    let point = |(at, value): (usize, &Option<f64>)| {
        let value = (*value)?;
        let time_ns = from_ns + at as u64 * SECOND_NS;
        Some(LinePoint { time_ns, value, band: Some((value * 0.9, value * 1.1)) })
    };
    let points = values.iter().enumerate().filter_map(point).collect();
    Line { name: name.into(), step_ns: SECOND_NS, points }
}

fn over_time(times: Times, lines: Vec<Line>) -> Figure {
    let plot = Lines { axis: "memory".into(), unit: Unit::Bytes, times, lines };
    Figure {
        title: "Memory of the guest".into(),
        notes: vec!["A point a second.".into()],
        plot: Plot::Lines(plot),
    }
}

/// One element a line, so that a changed drawing reads as a diff.
fn lines(svg: &str) -> String {
    svg.replace("><", ">\n<")
}

#[test]
fn ecdf_of_two_runs() {
    let one = curve("A", &[1.0e9, 1.1e9, 1.2e9, 1.1e9, 1.4e9, 1.05e9]);
    let two = curve("B", &[1.3e9, 1.5e9]);
    let svg = ecdf(vec![one, two], false).to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    insta::assert_snapshot!(lines(&svg));
}

#[test]
fn waterfall_of_one_run() {
    let bars = vec![bar("spawn", 0.0, 45e6), bar("kernel", 45e6, 800e6), bar("exec", 845e6, 5e6)];
    let lanes = vec![Lane { name: "A, sample #3".into(), total_ns: 850e6, bars }];
    let plot = Plot::Waterfall(Waterfall { lanes });
    let svg = Figure { title: "Where the time goes".into(), notes: vec![], plot }.to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    insta::assert_snapshot!(lines(&svg));
}

#[test]
fn lines_with_a_gap_and_a_lone_point() {
    let mebibytes = |values: &[f64]| -> Vec<Option<f64>> {
        values.iter().map(|value| (!value.is_nan()).then_some(value * 1_048_576.0)).collect()
    };
    let gap = f64::NAN;
    let one = line("vm=\"a\"", MOMENT_NS, &mebibytes(&[120.0, 130.0, gap, 150.0, gap, 140.0, 160.0]));
    let two = line("vm=\"b\"", MOMENT_NS, &mebibytes(&[80.0, 82.0, 81.0]));
    let svg = over_time(Times::Utc, vec![one, two]).to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    assert_eq!(svg.matches("<circle").count(), 1);
    insta::assert_snapshot!(lines(&svg));
}

#[test]
fn times_since_a_start_begin_at_zero() {
    let svg = over_time(Times::SinceStart, vec![line("a", 5 * SECOND_NS, &[Some(1.0), Some(2.0)])]).to_svg();
    assert!(svg.contains("time since the start, in s") && svg.contains(">0</text>"), "{svg}");
}

#[test]
fn a_single_point_and_none_at_all_are_drawn_too() {
    let svg = over_time(Times::Utc, vec![line("a", MOMENT_NS, &[Some(1.0)])]).to_svg();
    assert!(svg.contains("a: 1 point, 1 B</text>") && svg.contains("<circle"), "{svg}");
    let svg = over_time(Times::Utc, vec![line("a", MOMENT_NS, &[])]).to_svg();
    assert!(svg.contains("There are no points in this range.") && !svg.contains("<path"), "{svg}");
}

#[test]
fn a_picture_is_the_drawing_in_pixels() {
    let figures = [
        ecdf(vec![curve("A", &[1.0e9, 1.1e9])], false),
        over_time(Times::Utc, vec![line("a", MOMENT_NS, &[Some(1.0), Some(2.0)])]),
    ];
    for figure in figures {
        let decoded = resvg::tiny_skia::Pixmap::decode_png(&figure.to_png(400).unwrap()).unwrap();
        assert_eq!(decoded.width(), 400);
        let has = |wanted: (u8, u8, u8)| {
            decoded.pixels().iter().any(|pixel| (pixel.red(), pixel.green(), pixel.blue()) == wanted)
        };
        // Paper, and the first curve.
        assert!(decoded.pixels().iter().all(|pixel| pixel.alpha() == 255));
        assert!(has((255, 255, 255)) && has((0, 0x72, 0xb2)), "{}", figure.title);
    }
}

#[test]
fn no_samples_are_said_not_drawn() {
    let svg = ecdf(vec![curve("A", &[])], false).to_svg();
    assert!(svg.contains("No sample succeeded.") && !svg.contains("<path"), "{svg}");
}

#[test]
fn a_logarithmic_axis_says_so_and_needs_positive_values() {
    assert!(ecdf(vec![curve("A", &[1e6, 1e9])], true).to_svg().contains("logarithmic"));
    assert!(!ecdf(vec![curve("A", &[0.0, 1e9])], true).to_svg().contains("logarithmic"));
}

#[test]
fn size_does_not_grow_with_the_samples() {
    let samples: Vec<f64> =
        (0..200_000u32).map(|n| 1e9 + f64::from(n.wrapping_mul(2_654_435_761)) / 8.0).collect();
    let curve = Curve {
        name: "A".into(),
        samples,
        median: Some(1.2e9),
        median_interval: Some(Interval { low: 1.1e9, high: 1.3e9, level: 0.95 }),
    };
    let svg = ecdf(vec![curve], false).to_svg();
    assert!(svg.len() < 40_000, "{} bytes", svg.len());
}

#[test]
fn drawings_need_nothing_from_elsewhere() {
    let svg = ecdf(vec![curve("A", &[1.0, 2.0])], false).to_svg();
    assert_eq!(svg.matches("http").count(), svg.matches("xmlns=\"http://www.w3.org/2000/svg\"").count());
    assert!(!svg.contains("url(") && !svg.contains("<script") && !svg.contains("@import"));
}

fn ramp(machines: &[(f64, Option<f64>)]) -> Figure {
    let strip = |(number, (launched_ns, took_ns)): (usize, &(f64, Option<f64>))| RampStrip {
        name: format!("tti-{number}"),
        launched_ns: *launched_ns,
        ready_ns: took_ns.map(|took_ns| launched_ns + took_ns),
    };
    Figure {
        title: "Ramp of tti".into(),
        notes: vec!["Each strip is a machine.".into()],
        plot: Plot::Ramp(Ramp { strips: machines.iter().enumerate().map(strip).collect() }),
    }
}

#[test]
fn a_ramp_shows_launches_readiness_and_failures() {
    let svg = ramp(&[(0.0, Some(1.2e9)), (2e8, None), (4e8, Some(1.1e9))]).to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    insta::assert_snapshot!(lines(&svg));
}

#[test]
fn lanes_of_different_magnitude_have_a_strip_each_and_their_own_scale() {
    let lane = |name: &str, ns: f64| Lane {
        name: name.into(),
        total_ns: ns,
        bars: vec![bar("spawn", 0.0, ns / 4.0), bar("exec", ns / 4.0, ns * 0.75)],
    };
    let lanes = vec![lane("cold", 1.3e9), lane("template", 1.5e8), lane("warm", 2.6e7)];
    let figure = Figure {
        title: "Where the time of tti goes".into(),
        notes: Vec::new(),
        plot: Plot::Waterfall(Waterfall { lanes }),
    };
    let svg = figure.to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    assert!(svg.contains("The parts, at the same scale:") && svg.contains("The parts, enlarged 9 times:"));
    for name in ["cold", "template", "warm"] {
        assert_eq!(svg.matches(&format!(">{name}: ")).count(), 2, "{name}");
    }
    // A quarter of the template's time, on its own scale, is as wide as a quarter of the cold one's.
    assert_eq!(svg.matches("width=\"122.5\"").count(), 3, "two of cold, one of template");
    insta::assert_snapshot!(lines(&svg));
}

#[test]
fn hundreds_of_machines_fit_one_page() {
    let machines: Vec<_> = (0..240).map(|number| (f64::from(number) * 1e7, Some(1e9))).collect();
    let svg = ramp(&machines).to_svg();
    assert!(!svg.contains(">tti-7<") && svg.contains("240 machines, in the order of launch"));
    assert_eq!(svg.matches("<rect").count(), 240 + 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_ramp_is_well_formed(
        machines in prop::collection::vec((0.0f64..1e13, prop::option::of(0.0f64..1e13)), 0..60),
    ) {
        let svg = ramp(&machines).to_svg();
        prop_assert_eq!(checker::check(&svg), Ok(()));
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn every_drawing_is_well_formed_and_has_no_broken_numbers(
        samples in prop::collection::vec(0.0f64..1e13, 0..30), name in "\\PC{0,40}", logarithmic: bool,
    ) {
        let svg = ecdf(vec![curve(&name, &samples)], logarithmic).to_svg();
        prop_assert_eq!(checker::check(&svg), Ok(()));
        let plain = svg.replace("&#39;", "");
        for attribute in ["x=\"", "y=\"", "width=\"", "height=\"", "x1=\"", "x2=\"", "y1=\"", "y2=\""] {
            for (at, _) in plain.match_indices(&format!(" {attribute}")) {
                let value = plain[at + attribute.len() + 1..].split('"').next().unwrap_or_default();
                prop_assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{attribute}{value}");
            }
        }
    }

    #[test]
    fn every_line_is_well_formed_whatever_its_values(
        values in prop::collection::vec(prop::option::of(prop::num::f64::NORMAL), 0..30),
        from_ns in 0u64..9_000_000_000_000_000_000, name in "\\PC{0,40}", since: bool,
    ) {
        let times = if since { Times::SinceStart } else { Times::Utc };
        let svg = over_time(times, vec![line(&name, from_ns, &values)]).to_svg();
        prop_assert_eq!(checker::check(&svg), Ok(()));
        for broken in ["NaN\"", "inf\"", "\"NaN", "\"inf", "MNaN", "Minf", "LNaN", "Linf", " NaN", " inf"] {
            prop_assert!(!svg.replace(&name, "").contains(broken), "{svg}");
        }
        prop_assert!(svg.len() < 40_000, "{} bytes", svg.len());
    }
}

fn stacked(bars: &[&[(&str, f64)]]) -> Figure {
    let part = |(name, value): &(&str, f64)| StackedPart { name: (*name).into(), value: *value };
    let bar =
        |parts: &&[(&str, f64)]| StackedBar { name: "A <b>".into(), parts: parts.iter().map(part).collect() };
    let bars = bars.iter().map(bar).collect();
    let plot = Plot::Stacked(Stacked { axis: "overhead in %".into(), symbol: "%", bars });
    Figure { title: "Overhead".into(), notes: Vec::new(), plot }
}

/// Left edge and width of each bar's parts, the legend's left out.
fn parts(svg: &str) -> Vec<(f64, f64)> {
    let number = |element: &str, name: &str| -> f64 {
        let after = element.split(&format!(" {name}=\"")).nth(1).unwrap();
        after.split('"').next().unwrap().parse().unwrap()
    };
    let rects = svg.split("<rect").skip(1).filter(|rect| rect.contains("height=\"18\""));
    rects.map(|rect| (number(rect, "x"), number(rect, "width"))).collect()
}

#[test]
fn parts_of_a_bar_stand_side_by_side_and_what_is_below_zero_is_told() {
    let svg = stacked(&[&[("CPU", 2.0), ("storage", -0.4), ("network", 4.0)], &[("network", 1.0)]]).to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    let drawn = parts(&svg);
    assert_eq!(drawn.len(), 3, "{svg}");
    // Each begins where the one before it ends, half a unit apart, and is as long as its value says.
    assert!((drawn[0].0 + drawn[0].1 + 0.5 - drawn[1].0).abs() < 0.02, "{drawn:?}");
    assert!(((drawn[1].1 + 0.5) / (drawn[0].1 + 0.5) - 2.0).abs() < 0.01, "{drawn:?}");
    assert!(svg.contains("storage -0.4 %"));
    // A name keeps its colour.
    assert_eq!(svg.matches("area c2").count(), 3, "{svg}");
}

fn heat(fields: Vec<HeatField>) -> Figure {
    let plot = Plot::Heat(Heat {
        across_name: "source".into(),
        across: vec!["qemu-kvm".into(), "x & y".into()],
        down_name: "target".into(),
        down: vec!["qemu-kvm".into(), "y".into()],
        most: 1.0,
        fields,
    });
    Figure { title: "Moves".into(), notes: Vec::new(), plot }
}

#[test]
fn a_heat_map_has_a_field_for_every_pair_and_writes_its_values() {
    let field =
        |column, row, value: f64| HeatField { column, row, value, said: vec![format!("{value} moved")] };
    let svg = heat(vec![field(0, 0, 1.0), field(1, 0, 0.25)]).to_svg();
    assert_eq!(checker::check(&svg), Ok(()));
    assert_eq!(svg.matches("class=\"area").count(), 4);
    let strength = |value: &str| svg.matches(&format!("fill-opacity=\"{value}\"")).count();
    assert_eq!((strength("0.5"), strength("0.18") + strength("0.19"), strength("0")), (1, 1, 2), "{svg}");
    assert!(svg.contains("1 moved") && svg.contains("0.25 moved") && svg.matches(">–<").count() == 2);
}

proptest! {
    #[test]
    fn whatever_the_values_bars_and_fields_are_well_formed(values in prop::collection::vec(-1e9..1e9f64, 0..5)) {
        let bar: Vec<(&str, f64)> = values.iter().map(|value| ("part & <name>", *value)).collect();
        let svg = stacked(&[&bar, &[]]).to_svg();
        prop_assert_eq!(checker::check(&svg), Ok(()));
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let field = |(row, value): (usize, &f64)| HeatField { column: 0, row, value: *value, said: Vec::new() };
        let svg = heat(values.iter().enumerate().map(field).collect()).to_svg();
        prop_assert_eq!(checker::check(&svg), Ok(()));
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
