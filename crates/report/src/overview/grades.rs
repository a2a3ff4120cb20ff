//! Everything that was graded, in one table.

use virtmark_scenarios::Verdict;
use virtmark_scenarios::migrate::Cell as Size;

use super::Part;
use super::migration::Moves;
use crate::entry::Entry;
use crate::format;
use crate::style::Tone;
use crate::table::{Cell, Column, Table};

/// How a grade begins that asks for something to be done.
const BAD: [&str; 2] = ["misses", "needs"];

pub(super) fn part(entries: &[Entry<'_>], moves: &[Moves<'_, '_>]) -> Option<Part> {
    let mut table = Table::new("");
    table.column("", Column::Name).column("step", Column::Name).column("what", Column::Name);
    table
        .column("value", Column::Figure)
        .column("95 % interval", Column::Figure)
        .column("grade", Column::Text);
    let mut graded = false;
    for entry in entries {
        for (what, value, interval, grade) in of_entry(entry) {
            graded = true;
            let tone = if is_bad(&grade) { Tone::Bad } else { Tone::Plain };
            table.row(vec![
                entry.letter.as_str().into(),
                entry.label().into(),
                what.into(),
                value.into(),
                interval.into(),
                Cell::from(grade).tone(tone),
            ]);
        }
    }
    for Moves { entry, report } in moves {
        for size in &report.cells {
            graded = true;
            let tone = if missed(size) { Tone::Bad } else { Tone::Plain };
            let median =
                size.migration_duration_ms.as_ref().map(|duration| format::duration_ns(duration.p50 * 1e6));
            table.row(vec![
                entry.letter.as_str().into(),
                entry.label().into(),
                format!("migration of {} MB, load {}", size.memory_mb, size.load).into(),
                median.unwrap_or_else(|| "–".into()).into(),
                "–".into(),
                Cell::from(size.grade_text.as_str()).tone(tone),
            ]);
        }
    }
    let text = "Medians against the hypervisor guide's targets, and overheads against its table.";
    graded.then(|| Part {
        title: "Grades".into(),
        texts: vec![text.into()],
        tables: vec![table],
        ..Part::default()
    })
}

/// Whether a migration missed one of its targets.
fn missed(size: &Size) -> bool {
    let grade = &size.grade;
    [grade.duration, grade.downtime, grade.rate].contains(&Verdict::Missed)
}

/// Whether a grade asks for something to be done.
pub(super) fn is_bad(grade: &str) -> bool {
    BAD.iter().any(|bad| grade.starts_with(bad))
}

/// What was graded in a run: what, its value, its interval, its grade.
fn of_entry(entry: &Entry<'_>) -> Vec<(String, String, String, String)> {
    let mut rows = Vec::new();
    for column in &entry.samples.extra {
        for metric in &entry.metrics {
            let Some(grade) = column.by_metric.get(&*metric.name).filter(|grade| !grade.is_empty()) else {
                continue;
            };
            let value = metric.summary.map(|summary| format::value(summary.median, metric.unit));
            let interval = metric
                .summary
                .and_then(|summary| summary.median_ci95)
                .map(|interval| format::range(interval.low, interval.high, metric.unit, "–"));
            rows.push((
                metric.name.to_string(),
                value.unwrap_or_else(|| "–".into()),
                interval.unwrap_or_else(|| "–".into()),
                grade.clone(),
            ));
        }
    }
    for overhead in entry.samples.overheads.iter().filter(|overhead| !overhead.grade.is_empty()) {
        let interval = overhead.interval.map(|(low, high)| format!("{low:.1} to {high:.1} %"));
        rows.push((
            format!("{} overhead", overhead.name),
            format!("{:.1} %", overhead.percent),
            interval.unwrap_or_else(|| "–".into()),
            overhead.grade.clone(),
        ));
    }
    rows
}
