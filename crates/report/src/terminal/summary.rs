//! What one run measured.

use virtmark_model::Unit;
use virtmark_stats::{Percentile, Summary};

use crate::metric::{Metric, phase_ns};
use crate::style::{Style, Tone};
use crate::table::{Cell, Column, Table};
use crate::{ReportError, RunSamples, format, notes};

/// What one run measured: a table of its metrics, the phases of each metric's median sample, and everything that
/// must be said with them: failures by class, skips, outliers, percentiles without support, emulation.
///
/// # Errors
/// [`ReportError::Summary`] when a value is not finite.
pub fn run_summary(run: &RunSamples, style: Style) -> Result<String, ReportError> {
    let metrics = Metric::of_run(&run.run.id, &run.samples)?;
    let mut text = metrics_table(run, &metrics, style).render(style);
    for metric in metrics.iter().filter(|metric| !is_part_of_another(metric, &metrics)) {
        if let Some(table) = phases_table(metric, style) {
            text.push('\n');
            text.push_str(&table.render(style));
        }
    }
    for table in &run.tables {
        text.push('\n');
        text.push_str(&table.render(style));
    }
    Ok(text)
}

/// Whether all phases of a metric are the beginning of another's: the restore of a restore and its command.
fn is_part_of_another(metric: &Metric<'_>, all: &[Metric<'_>]) -> bool {
    let phases = |metric: &Metric<'_>| -> Vec<String> {
        let names = metric.phase_times_ns().into_iter();
        names.map(|(name, _)| name.to_owned()).collect()
    };
    let own = phases(metric);
    all.iter().map(phases).any(|other| other.len() > own.len() && other.starts_with(&own))
}

fn metrics_table(run: &RunSamples, metrics: &[Metric<'_>], style: Style) -> Table {
    let mut table = Table::new(format!("{}: {}", run.run.id, notes::platform(&run.run)));
    table.column("metric", Column::Name);
    for heading in ["ok", "failed", "median", "95 % interval", "mean", "sd", "p95", "p99", "min", "max"] {
        table.column(heading, Column::Figure);
    }
    for extra in &run.extra {
        table.column(&extra.title, Column::Name);
    }
    for metric in metrics {
        let mut cells = vec![Cell::from(&*metric.name).tone(Tone::Strong)];
        cells.extend(counts(metric));
        cells.extend(match &metric.summary {
            Some(summary) => figures(summary, metric.unit, style),
            None => vec![Cell::from("-"); 8],
        });
        for extra in &run.extra {
            cells.push(extra.by_metric.get(&*metric.name).cloned().unwrap_or_default().into());
        }
        table.row(cells);
    }
    add_notes(&mut table, run, metrics);
    table
}

fn counts(metric: &Metric<'_>) -> [Cell; 2] {
    let failed = metric.failed();
    [
        format::count(metric.succeeded() as f64).into(),
        Cell::from(format::count(failed as f64)).tone(if failed > 0 { Tone::Bad } else { Tone::Plain }),
    ]
}

fn figures(summary: &Summary, unit: Unit, style: Style) -> Vec<Cell> {
    let value = |number| Cell::from(format::value(number, unit));
    let interval = match summary.median_ci95 {
        Some(interval) => {
            format::range(interval.low, interval.high, unit, if style.unicode { "–" } else { "-" })
        }
        None => "-".into(),
    };
    vec![
        percentile(summary.p50, unit).tone(Tone::Strong),
        interval.into(),
        value(summary.mean),
        summary.stddev.map_or_else(|| "-".into(), value),
        percentile(summary.p95, unit),
        percentile(summary.p99, unit),
        value(summary.min),
        value(summary.max),
    ]
}

fn percentile(percentile: Percentile, unit: Unit) -> Cell {
    Cell { mark: (!percentile.supported).then_some('*'), ..Cell::from(format::value(percentile.value, unit)) }
}

fn add_notes(table: &mut Table, run: &RunSamples, metrics: &[Metric<'_>]) {
    if let Some(emulation) = notes::emulation([&run.run]) {
        table.note(emulation, Tone::Warning);
    }
    if let Some(status) = notes::status(&run.run) {
        table.note(status, Tone::Warning);
    }
    if metrics.is_empty() {
        table.note("Nothing was measured.", Tone::Warning);
    }
    for metric in metrics {
        let about = |note: String| format!("{}: {note}", metric.name);
        if let Some(note) = notes::failures(metric) {
            table.note(about(note), Tone::Bad);
        }
        if let Some(note) = notes::skips(metric) {
            table.note(about(note), Tone::Warning);
        }
        if let Some(note) = notes::outliers(metric) {
            table.note(about(note), Tone::Faint);
        }
    }
    let summaries = || metrics.iter().filter_map(|metric| metric.summary.as_ref());
    if summaries().any(|summary| [summary.p50, summary.p95, summary.p99].iter().any(|p| !p.supported)) {
        table.note(notes::UNSUPPORTED, Tone::Faint);
    }
    if summaries().any(|summary| summary.median_ci95.is_none()) {
        table.note(notes::NO_INTERVAL, Tone::Faint);
    }
}

/// The phases of the metric's median sample; none when it was not taken apart.
fn phases_table(metric: &Metric<'_>, style: Style) -> Option<Table> {
    let median = metric.median_sample.filter(|median| !median.phases.is_empty())?;
    let mut table = Table::new(format!(
        "{}: phases of its median sample (#{}, {})",
        metric.name,
        median.seq,
        format::value(median.value, metric.unit)
    ));
    table.column("phase", Column::Name).column("time", Column::Figure).column("share", Column::Figure);
    table.column("", Column::Name).column("median of all", Column::Figure);
    let whole = median.value.max(f64::MIN_POSITIVE);
    for (name, times) in metric.phase_times_ns() {
        let time = phase_ns(median.phases, name).unwrap_or(0.0);
        let share = time / whole;
        // Durations are whole numbers of nanoseconds, so that the summary of any of them exists.
        let all = Summary::from_samples(&times).map(|summary| format::duration_ns(summary.median));
        table.row(vec![
            name.into(),
            format::duration_ns(time).into(),
            format::percent(share).into(),
            bar(share, style).into(),
            all.unwrap_or_else(|_| "-".into()).into(),
        ]);
    }
    if let Some(note) = notes::unaccounted(metric) {
        table.note(note, Tone::Warning);
    }
    Some(table)
}

/// A bar of up to 20 characters.
fn bar(share: f64, style: Style) -> String {
    const WIDTH: f64 = 20.0;
    let eighths = (share.clamp(0.0, 1.0) * WIDTH * 8.0).round() as usize;
    if !style.unicode {
        return "#".repeat((eighths + 4) / 8);
    }
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(['▏', '▎', '▍', '▌', '▋', '▊', '▉'].get((eighths % 8).wrapping_sub(1)));
    bar
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{ExtraColumn, fixtures};
    use virtmark_model::FailureClass;

    fn summary_of(run: &RunSamples) -> String {
        run_summary(run, Style::default()).unwrap()
    }

    #[test]
    fn a_run_with_failures_under_emulation() {
        let mut run = RunSamples::new(fixtures::run("tti", 0, fixtures::tcg()), fixtures::tti_samples(1, 20));
        run.samples.push(fixtures::failure(20, "tti", FailureClass::GuestSilent, "no answer"));
        run.samples.push(fixtures::skip(21, "restore", "no snapshots on this platform"));
        run.extra.push(ExtraColumn {
            title: "grade".into(),
            by_metric: BTreeMap::from([("tti".into(), "B".into())]),
        });
        let text = summary_of(&run);
        insta::assert_snapshot!(text);
        assert!(text.contains("tcg (software emulation)") && text.contains("Software emulation (TCG)"));
    }

    #[test]
    fn hardware_virtualisation_is_not_called_emulation() {
        let run = RunSamples::new(fixtures::run("tti", 0, fixtures::kvm()), fixtures::tti_samples(1, 200));
        let text = summary_of(&run);
        assert!(!text.contains("mulation") && !text.contains("Too few samples"), "{text}");
    }

    #[test]
    fn one_sample_has_neither_deviation_nor_interval() {
        let run = RunSamples::new(fixtures::run("tti", 0, fixtures::kvm()), fixtures::tti_samples(1, 1));
        let text = summary_of(&run);
        assert!(text.contains(notes::NO_INTERVAL) && text.contains("* Too few samples"), "{text}");
        assert!(text.contains("1.152 s*"), "{text}");
    }

    #[test]
    fn when_everything_failed_no_figure_is_shown() {
        let samples =
            (0..3).map(|seq| fixtures::failure(seq, "tti", FailureClass::VmmExited, "gone")).collect();
        let text = summary_of(&RunSamples::new(fixtures::run("tti", 0, fixtures::kvm()), samples));
        assert!(
            text.contains("3 failed: 3 vmm_exited") && !text.contains(" ms") && !text.contains(" s "),
            "{text}"
        );
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(
            summary_of(&RunSamples::new(fixtures::run("tti", 0, fixtures::kvm()), vec![]))
                .contains("Nothing")
        );
    }

    #[test]
    fn every_width_keeps_its_lines() {
        let run = RunSamples::new(fixtures::run("tti", 0, fixtures::tcg()), fixtures::tti_samples(1, 20));
        for width in 60..140 {
            let text = run_summary(&run, Style { width, ..Style::default() }).unwrap();
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{widest} > {width}:\n{text}");
        }
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(0.5, Style::default()).chars().count(), 10);
        assert_eq!(bar(1.0, Style::default()).chars().count(), 20);
        assert_eq!(bar(0.0, Style::default()), "");
        assert_eq!(bar(0.5, Style { unicode: false, ..Style::default() }), "##########");
    }
}
