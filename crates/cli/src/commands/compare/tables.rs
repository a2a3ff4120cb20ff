//! Comparisons as people read them.

use std::fmt::Write;

use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Tone, format};
use virtmark_scenarios::compare::{Comparison, FalseAlarms, MetricComparison, Rate, SideFigures, Verdict};

use super::tune::{Outcome, Tried};

const HEADINGS: [(&str, Column); 7] = [
    ("metric", Column::Name),
    ("A", Column::Figure),
    ("B", Column::Figure),
    ("B / A", Column::Figure),
    ("interval", Column::Figure),
    ("p", Column::Figure),
    ("verdict", Column::Name),
];

/// The table for a terminal.
pub(super) fn of(comparison: &Comparison) -> Table {
    let mut table = Table::new(title(comparison));
    for (heading, column) in HEADINGS {
        table.column(heading, column);
    }
    for metric in &comparison.metrics {
        let mut cells = cells(metric).map(Cell::from);
        cells[6].tone = tone(metric.verdict);
        table.row(cells.into());
    }
    for note in notes(comparison) {
        table.note(note, Tone::Plain);
    }
    table
}

/// The same for a pull request.
pub(super) fn markdown(comparison: &Comparison) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = format!("### {}\n\n", title(comparison));
    text.push_str(&line(&HEADINGS.map(|(heading, _)| heading.to_owned())));
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | --- |\n");
    for metric in &comparison.metrics {
        text.push_str(&line(&cells(metric)));
    }
    text.push('\n');
    for note in notes(comparison) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// What one configuration against itself came to.
pub(super) fn alarms(here: &FalseAlarms, all: &FalseAlarms) -> Table {
    let mut table = Table::new("false alarms: one configuration against itself");
    for (heading, column) in
        [("compared", Column::Name), ("these runs", Column::Figure), ("all such runs", Column::Figure)]
    {
        table.column(heading, column);
    }
    let row =
        |name: &str, here: &Rate, all: &Rate| vec![Cell::from(name), rate(here).into(), rate(all).into()];
    table.row(row("in turns", &here.interleaved, &all.interleaved));
    table.row(row("one after the other", &here.separate, &all.separate));
    table.note("The interval is that of 95 %; more runs make it narrower.", Tone::Plain);
    table
}

/// What each remedy came to.
pub(super) fn remedies(tried: &[Tried]) -> Table {
    let mut table = Table::new("remedies, each in turns with machines as they are");
    table.column("remedy", Column::Name);
    for (heading, column) in HEADINGS {
        table.column(heading, column);
    }
    for Tried { remedy, outcome } in tried {
        match outcome {
            Outcome::Skipped { skipped } => {
                let mut row = vec![Cell::from(*remedy)];
                row.resize_with(HEADINGS.len(), || Cell::from("-"));
                row.push(Cell::from("skipped"));
                table.row(row);
                table.note(format!("{remedy}: {skipped}"), Tone::Plain);
            }
            Outcome::Compared { comparison } => {
                for metric in &comparison.metrics {
                    let mut cells = cells(metric).map(Cell::from);
                    cells[6].tone = tone(metric.verdict);
                    table.row(std::iter::once(Cell::from(*remedy)).chain(cells).collect());
                    table.note(format!("{remedy}, {}: {}", metric.metric, metric.reason), Tone::Plain);
                }
            }
        }
    }
    table
}

fn title(comparison: &Comparison) -> String {
    let emulated = if comparison.emulated { ", SOFTWARE EMULATION" } else { "" };
    format!(
        "{}: B {} against A {}{emulated}: {}",
        comparison.scenario, comparison.run_b, comparison.run_a, comparison.verdict
    )
}

fn cells(metric: &MetricComparison) -> [String; 7] {
    let labels: Vec<String> = metric.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let name = if labels.is_empty() {
        metric.metric.clone()
    } else {
        format!("{} {}", metric.metric, labels.join(" "))
    };
    let median = |side: &SideFigures| {
        side.median.map_or_else(|| "-".to_owned(), |median| format::value(median, metric.unit))
    };
    let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let interval = metric
        .ratio_interval
        .map_or_else(|| "-".to_owned(), |interval| format!("{:.3} to {:.3}", interval.low, interval.high));
    let p_value = match metric.adjusted_p_value {
        None => "-".into(),
        Some(p) if p < 0.0001 => "<0.0001".into(),
        Some(p) => format!("{p:.4}"),
    };
    let verdict = metric.verdict.to_string();
    [name, median(&metric.a), median(&metric.b), figure(metric.ratio), interval, p_value, verdict]
}

fn notes(comparison: &Comparison) -> Vec<String> {
    let mut notes: Vec<String> = comparison
        .metrics
        .iter()
        .map(|metric| format!("{}: {} ({} is better)", metric.metric, metric.reason, metric.direction))
        .collect();
    notes.dedup();
    for found in &comparison.differences {
        notes.push(format!("{}: A {}, B {}", found.what, found.a, found.b));
    }
    if !comparison.unjudged.is_empty() {
        notes.push(format!(
            "left out, because nothing says which way is better: {} (--metric NAME:lower or NAME:higher)",
            comparison.unjudged.join(", ")
        ));
    }
    notes.extend(comparison.notes.iter().cloned());
    if let Some(alarms) = &comparison.false_alarms {
        let which = if comparison.interleaved { &alarms.interleaved } else { &alarms.separate };
        notes.push(format!("false alarms of this installation: {}", rate(which)));
    }
    notes
}

fn rate(rate: &Rate) -> String {
    match rate.interval {
        None => "none compared".into(),
        Some(interval) => format!(
            "{} of {} ({} to {})",
            rate.alarms,
            rate.comparisons,
            format::percent(interval.low),
            format::percent(interval.high)
        ),
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Better => Tone::Good,
        Verdict::CannotTell => Tone::Warning,
        Verdict::NoDifference => Tone::Plain,
        Verdict::Worse => Tone::Bad,
    }
}
