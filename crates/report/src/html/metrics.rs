//! The figures: one summary table over all metrics and runs, then the distributions and waterfalls of each metric.

use virtmark_model::Unit;
use virtmark_stats::{Percentile, Summary};

use super::{Entry, tables};
use crate::figure::{Bar, Curve, Ecdf, Figure, Lane, Plot, Waterfall};
use crate::markup::Markup;
use crate::metric::Metric;
use crate::{format, notes};

/// The label that says how a service started a machine: cold, from a template, warm, from a snapshot.
const START: &str = "start";

/// From this quotient of the largest and the smallest value on, a linear axis would hide the small ones.
const LOGARITHMIC_FROM: f64 = 100.0;
/// From this quotient of the largest and the smallest median on, curves on a linear axis would be vertical lines.
const LOGARITHMIC_FROM_MEDIANS: f64 = 5.0;

/// With `judged`, grades stand elsewhere and are not said again.
pub(super) fn draw(body: &mut Markup, entries: &[Entry<'_>], judged: bool) {
    let names = metric_names(entries);
    body.element("section", &[("class", &"summary")], |section| {
        section.leaf("h2", &[], "Summary");
        if names.is_empty() {
            section.leaf("p", &[], "Nothing was measured.");
        } else {
            draw_summary(section, entries, &names, judged);
        }
    });
    for (name, unit) in names {
        // What was skipped everywhere stands in the summary with its reason.
        if having(entries, name, unit).any(|(_, metric)| metric.succeeded() + metric.failed() > 0) {
            body.element("section", &[], |section| draw_metric(section, entries, name, unit));
        }
    }
}

/// The metrics of all runs, in order of first appearance.
fn metric_names<'e>(entries: &'e [Entry<'_>]) -> Vec<(&'e str, Unit)> {
    let mut names = Vec::new();
    for metric in entries.iter().flat_map(|entry| &entry.metrics) {
        let name = (&*metric.name, metric.unit);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The runs that have a metric, with it.
fn having<'e, 'a>(
    entries: &'e [Entry<'a>],
    name: &'e str,
    unit: Unit,
) -> impl Iterator<Item = (&'e Entry<'a>, &'e Metric<'a>)> {
    entries.iter().filter_map(move |entry| {
        let metric = entry.metrics.iter().find(|metric| metric.name == name && metric.unit == unit)?;
        Some((entry, metric))
    })
}

/// Headings of the figures beyond the median. A sheet of paper has no room for all of them: sd, MAD and p90 are hidden in
/// print, by their position from the end.
const SPREAD: [&str; 9] = ["mean", "sd", "MAD", "p90", "p95", "p99", "min", "max", "outliers"];

fn draw_summary(section: &mut Markup, entries: &[Entry<'_>], names: &[(&str, Unit)], judged: bool) {
    let several = entries.len() > 1;
    let extra = if judged { Vec::new() } else { extra_titles(entries) };
    let mut headings = vec![("metric", "")];
    if several {
        headings.push(("run", ""));
    }
    headings.extend(["ok", "failed", "median", "95 % interval"].map(|heading| (heading, "figure")));
    // A judgement is of the median: it stands beside it, not behind a dozen other figures.
    headings.extend(extra.iter().map(|title| (*title, "")));
    headings.extend(SPREAD.map(|heading| (heading, "figure")));
    tables::table(section, &headings, |rows| {
        for &(name, unit) in names {
            let lines = having(entries, name, unit).count();
            for (position, (entry, metric)) in having(entries, name, unit).enumerate() {
                rows.element("tr", &[], |row| {
                    if position == 0 {
                        row.leaf("th", &[("rowspan", &lines), ("scope", &"rowgroup")], name);
                    }
                    if several {
                        row.leaf("td", &[], &entry.letter);
                    }
                    draw_counts(row, metric);
                    draw_median(row, metric);
                    for title in &extra {
                        tables::cell(row, "word", extra_text(entry, title, name));
                    }
                    draw_spread(row, metric);
                });
                rows.newline();
            }
        }
    });
    tables::notes(section, &notes::summary(entries));
}

fn extra_titles<'a>(entries: &[Entry<'a>]) -> Vec<&'a str> {
    let mut titles: Vec<&str> = Vec::new();
    for column in entries.iter().flat_map(|entry| &entry.samples.extra) {
        if !titles.contains(&column.title.as_str()) {
            titles.push(&column.title);
        }
    }
    titles
}

fn extra_text<'a>(entry: &Entry<'a>, title: &str, metric: &str) -> &'a str {
    let column = entry.samples.extra.iter().find(|column| column.title == title);
    column.and_then(|column| column.by_metric.get(metric)).map_or("", String::as_str)
}

fn draw_counts(row: &mut Markup, metric: &Metric<'_>) {
    tables::cell(row, "figure", format::count(metric.succeeded() as f64));
    let failed = metric.failed();
    tables::cell(row, if failed > 0 { "figure bad" } else { "figure" }, format::count(failed as f64));
}

fn draw_median(row: &mut Markup, metric: &Metric<'_>) {
    let Some(summary) = &metric.summary else { return draw_absent(row, 2) };
    draw_percentile(row, "figure headline", summary.p50, metric.unit);
    tables::cell(row, "figure", interval(summary, metric.unit));
}

/// The figures of [`SPREAD`].
fn draw_spread(row: &mut Markup, metric: &Metric<'_>) {
    let Some(summary) = &metric.summary else { return draw_absent(row, SPREAD.len()) };
    let value = |number: f64| format::value(number, metric.unit);
    tables::cell(row, "figure", value(summary.mean));
    tables::cell(row, "figure", summary.stddev.map_or_else(|| "–".into(), value));
    tables::cell(row, "figure", value(summary.mad));
    for percentile in [summary.p90, summary.p95, summary.p99] {
        draw_percentile(row, "figure", percentile, metric.unit);
    }
    tables::cell(row, "figure", value(summary.min));
    tables::cell(row, "figure", value(summary.max));
    tables::cell(row, "figure", format::count(summary.outliers.total() as f64));
}

fn draw_absent(row: &mut Markup, cells: usize) {
    for _ in 0..cells {
        tables::cell(row, "figure", "–");
    }
}

fn draw_percentile(row: &mut Markup, class: &str, percentile: Percentile, unit: Unit) {
    row.element("td", &[("class", &class)], |cell| {
        cell.text(format::value(percentile.value, unit));
        if !percentile.supported {
            // Hangs into the gap, so that the figures above and below stay aligned.
            cell.leaf("span", &[("class", &"mark")], "*");
        }
    });
}

fn interval(summary: &Summary, unit: Unit) -> String {
    summary
        .median_ci95
        .map_or_else(|| "–".into(), |interval| format::range(interval.low, interval.high, unit, "–"))
}

fn draw_metric(section: &mut Markup, entries: &[Entry<'_>], name: &str, unit: Unit) {
    section.leaf("h2", &[], name);
    let mut drew = false;
    for figure in figures(entries, name, unit) {
        section.element("figure", &[], |element| figure.draw_inline(element));
        drew = true;
    }
    if !drew {
        section.leaf(
            "p",
            &[],
            "No sample succeeded, so there is nothing to draw; the notes of the summary say why.",
        );
    }
}

/// The figures of all metrics, in the order of the document.
pub(super) fn all_figures(entries: &[Entry<'_>]) -> Vec<Figure> {
    metric_names(entries).into_iter().flat_map(|(name, unit)| figures(entries, name, unit)).collect()
}

fn figures(entries: &[Entry<'_>], name: &str, unit: Unit) -> Vec<Figure> {
    let emulation =
        notes::emulation(having(entries, name, unit).map(|(entry, _)| entry.run())).map(str::to_owned);
    let series = series(entries, name, unit);
    let plots = [ecdf(&series, name, unit), waterfall(&series, name, unit)].into_iter().flatten();
    plots
        .chain(super::ramp::ramps(entries, name, unit))
        .map(|plot| Figure { notes: plot.notes.into_iter().chain(emulation.clone()).collect(), ..plot })
        .collect()
}

/// A set of samples that is one curve and one lane: those of a run, or, where a run started machines in several ways,
/// those of one way.
struct Series<'a> {
    name: String,
    letter: String,
    metric: Metric<'a>,
}

/// One for each run, or, where those are more than a figure can tell apart, one for each step of a suite, or scenario, on
/// each platform.
fn series<'a>(entries: &[Entry<'a>], name: &str, unit: Unit) -> Vec<Series<'a>> {
    let each = series_of_runs(entries, name, unit);
    if each.len() <= Figure::MOST_CURVES {
        return each;
    }
    let mut groups: Vec<(String, Vec<&Metric<'a>>)> = Vec::new();
    for (entry, metric) in having(entries, name, unit) {
        let group = format!("{}, {}", entry.label(), notes::platform(entry.run()));
        match groups.iter_mut().find(|(other, _)| *other == group) {
            Some((_, metrics)) => metrics.push(metric),
            None => groups.push((group, vec![metric])),
        }
    }
    let pooled = groups.into_iter().filter_map(|(group, metrics)| {
        // The figures of each run exist, so those of all of them do.
        let metric = Metric::pooled(&metrics, &entries.first()?.run().id).ok()?;
        let runs = if metrics.len() == 1 { "1 run".into() } else { format!("{} runs", metrics.len()) };
        Some(Series { name: format!("{group}: {runs}"), letter: group, metric })
    });
    pooled.collect()
}

fn series_of_runs<'a>(entries: &[Entry<'a>], name: &str, unit: Unit) -> Vec<Series<'a>> {
    let parts = entries.iter().flat_map(|entry| {
        let metric = entry.metrics.iter().find(|metric| metric.name == name && metric.unit == unit);
        // The figures of the whole exist, so those of a part do.
        let parts = metric.and_then(|metric| metric.split(START, &entry.run().id).ok()).unwrap_or_default();
        parts.into_iter().map(move |(start, metric)| (entry, start, metric))
    });
    parts
        .map(|(entry, start, metric)| Series {
            name: entry.named(entries, start),
            letter: entry.letter.clone(),
            metric,
        })
        .collect()
}

fn ecdf(series: &[Series<'_>], name: &str, unit: Unit) -> Option<Figure> {
    let curves: Vec<Curve> = series
        .iter()
        .map(|Series { name, metric, .. }| Curve {
            name: name.clone(),
            samples: metric.values.clone(),
            median: metric.summary.map(|summary| summary.median),
            median_interval: metric.summary.and_then(|summary| summary.median_ci95),
        })
        .collect();
    let summaries = || series.iter().filter_map(|series| series.metric.summary);
    let low = summaries().map(|summary| summary.min).reduce(f64::min)?;
    let high = summaries().map(|summary| summary.max).reduce(f64::max)?;
    let medians = || summaries().map(|summary| summary.median);
    let median_ratio = medians().fold(0.0, f64::max) / medians().fold(f64::INFINITY, f64::min);
    let banded = curves.iter().any(|curve| curve.median_interval.is_some());
    let band = if banded { "; the band is its 95 % interval" } else { "" };
    Some(Figure {
        title: format!("Distribution of {name}"),
        notes: vec![format!("Each step is a sample. The vertical line is the median{band}.")],
        plot: Plot::Ecdf(Ecdf {
            axis: name.into(),
            unit,
            logarithmic: low > 0.0
                && (high / low >= LOGARITHMIC_FROM || median_ratio >= LOGARITHMIC_FROM_MEDIANS),
            curves,
        }),
    })
}

fn waterfall(series: &[Series<'_>], name: &str, unit: Unit) -> Option<Figure> {
    let mut notes = vec![
        "Each lane is one real sample, the nearest-rank median of its run, not an average. Shares are of its value."
            .to_owned(),
    ];
    let mut lanes = Vec::new();
    for Series { name, letter, metric } in series {
        let Some(median) =
            metric.median_sample.filter(|median| !median.phases.is_empty() && unit == Unit::Ns)
        else {
            continue;
        };
        notes.extend(notes::unaccounted(metric).map(|note| format!("{letter}: {note}")));
        lanes.push(Lane {
            name: format!("{name}, sample #{}", median.seq),
            total_ns: median.value,
            bars: median
                .phases
                .iter()
                .map(|phase| Bar {
                    name: phase.name.to_string(),
                    start_ns: phase.start_ns as f64,
                    duration_ns: phase.duration_ns as f64,
                })
                .collect(),
        });
    }
    (!lanes.is_empty()).then(|| Figure {
        title: format!("Where the time of {name} goes"),
        notes,
        plot: Plot::Waterfall(Waterfall { lanes }),
    })
}
