//! The pictures of a sweep.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use proptest::prelude::*;
use virtmark_report::figure::{Plot, Xy, XyShape};
use virtmark_report::sweep::{NamedFigure, PictureFormat, PlotOptions, PlotsError, figures, plots};
use virtmark_scenarios::sweep::{Row, Sweep, csv, summary};
use virtmark_stats::knee;

const GUIDE: &str = include_str!("../../scenarios/tests/sweep/guide.csv");

fn sweep(rows: &[Row]) -> Sweep {
    // Few resamples: the interval of a peak is not drawn.
    Sweep::from_rows(rows, &knee::Options { resamples: 40, ..knee::Options::default() }).unwrap()
}

fn guide() -> Vec<Row> {
    csv::parse(GUIDE, "guide.csv").unwrap()
}

fn names(figures: &[NamedFigure]) -> Vec<&str> {
    figures.iter().map(|figure| figure.name).collect()
}

fn plot(figure: &NamedFigure) -> &Xy {
    let Plot::Xy(plot) = &figure.figure.plot else { panic!("{} is of another kind", figure.name) };
    plot
}

/// The same machine in several sizes, each level measured three times.
fn sizes() -> Vec<Row> {
    let mut rows = Vec::new();
    for vcpus in [2, 4, 6] {
        for row in guide() {
            for run_idx in 1..=3 {
                let more = f64::from(vcpus) / 4.0 * (1.0 + f64::from(run_idx) / 100.0);
                rows.push(Row {
                    vcpus: Some(vcpus),
                    run_idx: Some(run_idx),
                    qps: row.qps.map(|qps| qps * more),
                    emulated: Some(true),
                    warnings: (1..=5).map(|n| format!("warning {n}")).collect(),
                    ..row.clone()
                });
            }
        }
    }
    rows
}

#[test]
fn the_guides_knee_is_the_same_in_every_picture_and_in_the_text() {
    let sweep = sweep(&guide());
    let figures = figures(&sweep);
    assert_eq!(names(&figures), ["qps_vs_concurrency", "latency_vs_concurrency", "qps_vs_p99"]);
    for figure in &figures[..2] {
        assert_eq!(plot(figure).panels[0].rule, Some((32.0, "knee: 32".into())), "{}", figure.name);
    }
    let ringed = |figure: &NamedFigure| {
        let points = plot(figure).panels[0].traces.iter().flat_map(|trace| &trace.points);
        points.filter(|point| point.ringed).map(|point| (point.x, point.y)).collect::<Vec<_>>()
    };
    assert_eq!(ringed(&figures[0]), [(32.0, 14_000.0)]);
    assert_eq!(ringed(&figures[2]), [(15e6, 14_000.0)]);
    assert_eq!(plot(&figures[0]).panels[0].band, Some((16.0, 24.0)));
    for text in [summary::text(&sweep), summary::knee_text(&sweep)] {
        assert!(text.contains("rule       32 (to 64"), "{text}");
        assert!(text.contains("run at a concurrency of 16 to 24 (50 to 75 % of 32"), "{text}");
    }
    assert_eq!(figures[1].figure.notes, ["Not measured: p90."]);
}

#[test]
fn the_pareto_front_has_the_levels_that_no_other_beats() {
    let figures = figures(&sweep(&guide()));
    let of = |shape: XyShape| -> Vec<String> {
        let traces = plot(&figures[2]).panels[0].traces.iter().filter(|trace| trace.shape == shape);
        traces.flat_map(|trace| &trace.points).map(|point| point.label.clone().unwrap()).collect()
    };
    assert_eq!(of(XyShape::Line), ["1", "4", "8", "16", "32", "64"]);
    assert_eq!(of(XyShape::Hollow), ["128"]);
}

#[test]
fn throughput_of_the_guide_has_its_golden_drawing() {
    let svg = figures(&sweep(&guide()))[0].figure.to_svg();
    insta::assert_snapshot!(svg.replace("><", ">\n<"));
}

#[test]
fn sizes_have_a_curve_each_a_panel_each_and_a_scaling_with_bars() {
    let figures = figures(&sweep(&sizes()));
    assert_eq!(
        names(&figures),
        ["qps_vs_concurrency", "latency_vs_concurrency", "qps_vs_p99", "scaling_vs_vcpus"]
    );
    let lines = |figure: usize| {
        let traces = plot(&figures[figure]).panels.iter().flat_map(|panel| &panel.traces);
        traces.filter(|trace| trace.shape == XyShape::Line).cloned().collect::<Vec<_>>()
    };
    assert_eq!((lines(0).len(), plot(&figures[1]).panels.len()), (3, 3));
    let scaling = &lines(3)[0].points;
    let reached: Vec<(f64, f64)> = scaling.iter().map(|point| (point.x, point.y.round())).collect();
    assert_eq!(reached, [(2.0, 7242.0), (4.0, 14_484.0), (6.0, 21_726.0)]);
    let (low, high) = scaling[2].y_range.unwrap();
    assert_eq!((low.round(), high.round()), (21_513.0, 21_939.0));
    assert_eq!(scaling[2].label.as_deref(), Some("× 3.00"));
    for figure in &figures {
        let notes = figure.figure.notes.join("\n");
        assert!(notes.contains("Emulated: compare"), "{}: {notes}", figure.name);
        assert!(
            notes.ends_with("Warning: warning 3.\nWarnings beyond these: 2; the summary has them."),
            "{notes}"
        );
    }
}

#[test]
fn levels_of_an_open_loop_are_rates() {
    let open = |row: Row| Row {
        rate: row.concurrency.map(|level| f64::from(level) * 400.0),
        concurrency: None,
        ..row
    };
    let rows: Vec<Row> = guide().into_iter().map(open).collect();
    let figures = figures(&sweep(&rows));
    assert_eq!(names(&figures), ["qps_vs_rate", "latency_vs_rate", "qps_vs_p99"]);
    assert!(plot(&figures[0]).legend.iter().all(|key| !key.said.contains("Scalability")));
}

#[test]
fn pictures_are_files_of_the_width_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("perf/plots");
    let written =
        plots(&sizes(), &directory, &PlotOptions { width: 1000, ..PlotOptions::default() }).unwrap();
    assert_eq!(written.len(), 9);
    for path in &written {
        let bytes = fs::read(path).unwrap();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("png") => {
                assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
                assert_eq!(bytes[16..20], 1000u32.to_be_bytes());
            }
            Some("svg") => assert!(bytes.starts_with(b"<svg ") && bytes.ends_with(b"</svg>\n\n")),
            _ => assert!(bytes.starts_with(b"Sweep of concat_plan")),
        }
    }
    let svg = PlotOptions { formats: vec![PictureFormat::Svg], ..PlotOptions::default() };
    assert_eq!(plots(&guide(), &directory, &svg).unwrap().len(), 4);
    assert!(matches!(plots(&[], &directory, &svg), Err(PlotsError::Rows(_))));
    let file = directory.join("knee_summary.txt");
    let error = plots(&guide(), &file, &svg).unwrap_err().to_string();
    assert!(error.starts_with("cannot make the directory "), "{error}");
}

#[test]
fn a_sweep_without_a_success_says_so() {
    let failed = |row: Row| Row { qps: None, p50_ns: None, p99_ns: None, exit_code: Some(1), ..row };
    let rows: Vec<Row> = guide().into_iter().map(failed).collect();
    let figures = figures(&sweep(&rows));
    assert_eq!(names(&figures), ["qps_vs_concurrency"]);
    assert!(figures[0].figure.to_svg().contains("no run succeeded"));
    assert!(figures[0].figure.notes.contains(&"7 runs failed and are not shown.".into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever was measured, every coordinate is a number and the drawing is one that can be made into pixels.
    #[test]
    fn any_sweep_can_be_drawn(
        runs in prop::collection::vec((1u32..=4096, 0.0f64..1e9, 0u64..1_000_000_000_000, any::<bool>()), 1..12),
        open: bool, sizes in 1u32..4,
    ) {
        let row = |(index, (level, qps, p99_ns, failed)): (usize, &(u32, f64, u64, bool))| Row {
            plan: "<p> & \"q\"".into(),
            vcpus: Some(1 + index as u32 % sizes),
            concurrency: (!open).then_some(*level),
            rate: open.then_some(f64::from(*level)),
            qps: Some(*qps),
            p50_ns: Some(p99_ns / 2),
            p99_ns: Some(*p99_ns),
            exit_code: Some(i32::from(*failed)),
            ..Row::default()
        };
        let rows: Vec<Row> = runs.iter().enumerate().map(row).collect();
        for figure in figures(&sweep(&rows)) {
            let svg = figure.figure.to_svg();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf\"") && !svg.contains("inf "), "{}: {svg}", figure.name);
            prop_assert!(figure.figure.to_png(200).is_ok());
        }
    }
}
