//! What a scenario has to say beyond metrics, as tables for terminal and HTML alike: give them to
//! [`RunSamples::tables`](crate::RunSamples).

use virtmark_model::Unit;
use virtmark_scenarios::guest::{self, Field};
use virtmark_scenarios::pace::OpenLoop;
use virtmark_scenarios::restore::{RestoreReport, WorkingSetFigures};
use virtmark_scenarios::tti::TtiReport;

use crate::Overhead;
use crate::format;
use crate::style::Tone;
use crate::table::{Cell, Column, Table};

/// What a TTI run has to say beyond its metrics: how far an open loop's generator was late.
pub fn of_tti(report: &TtiReport) -> Vec<Table> {
    report.open_loop.iter().map(open_loop).collect()
}

/// What a restore run has to say beyond its metrics: failures by the step that they came in, the working set, and how far
/// an open loop's generator was late.
pub fn of_restore(report: &RestoreReport) -> Vec<Table> {
    let mut tables = vec![failures(report)];
    if !report.working_set.is_empty() {
        tables.push(working_set(&report.working_set));
    }
    tables.extend(report.open_loop.iter().map(open_loop));
    tables
}

/// What running inside costs by the guest suites, as far as it was measured in percent.
pub fn overheads(of: &guest::Overhead) -> Vec<Overhead> {
    let fields = [
        ("CPU", Field::Cpu),
        ("memory", Field::Memory),
        ("storage", Field::Storage),
        ("network", Field::Network),
    ];
    let measured = fields.into_iter().filter_map(|(name, field)| {
        let graded = of.field(field);
        Some(Overhead {
            name: name.into(),
            percent: graded.percent?,
            interval: graded.percent_ci95.map(|interval| (interval.low, interval.high)),
            grade: graded.grade_text.clone(),
        })
    });
    measured.collect()
}

fn failures(report: &RestoreReport) -> Table {
    let mut table = Table::new("Failures by step");
    table.column("step", Column::Name).column("failures", Column::Figure);
    let failures = report.failures;
    for (step, count) in [
        ("restore_api", failures.restore_api),
        ("sanity_exec", failures.sanity_exec),
        ("destroy", failures.destroy),
        ("other", failures.other),
    ] {
        let tone = if count > 0 { Tone::Bad } else { Tone::Plain };
        table.row(vec![step.into(), Cell::from(format::count(count as f64)).tone(tone)]);
    }
    table
}

fn working_set(figures: &[WorkingSetFigures]) -> Table {
    let bytes = figures.iter().find_map(|figures| figures.working_set_bytes);
    let size = bytes.map_or_else(String::new, |bytes| format!(" of {}", format::bytes(bytes as f64)));
    let mut table = Table::new(format!("Until the working set{size} was read after a restore"));
    table.column("page cache", Column::Name);
    for heading in ["share read", "ok", "failed", "skipped", "from the request", "reading alone"] {
        table.column(heading, Column::Figure);
    }
    for WorkingSetFigures { cache, percent, from_request, reading, failures, skipped, .. } in figures {
        let failed: u64 = failures.values().sum();
        let median =
            |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| format::value(ns as f64, Unit::Ns));
        table.row(vec![
            cache.as_str().into(),
            format!("{percent} %").into(),
            format::count(from_request.as_ref().map_or(0, |figures| figures.count) as f64).into(),
            Cell::from(format::count(failed as f64)).tone(if failed > 0 { Tone::Bad } else { Tone::Plain }),
            format::count(*skipped as f64).into(),
            Cell::from(median(from_request.as_ref().map(|figures| figures.p50_ns))).tone(Tone::Strong),
            median(reading.as_ref().map(|figures| figures.p50_ns)).into(),
        ]);
    }
    table.note("Medians. Each machine reads 25 %, then up to 50 %, then all of it.", Tone::Faint);
    let reason = figures.iter().find_map(|figures| Some((&figures.cache, figures.skip_reason.as_ref()?)));
    if let Some((cache, reason)) = reason {
        table.note(format!("Page cache {cache}: skipped, because {reason}."), Tone::Warning);
    }
    table
}

fn open_loop(open: &OpenLoop) -> Table {
    let mut table = Table::new("Open loop");
    for heading in ["rate", "for", "launched", "dropped", "lag p50", "lag p99", "lag max"] {
        table.column(heading, Column::Figure);
    }
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| format::duration_ns(ns as f64));
    let tone = if open.dropped > 0 { Tone::Bad } else { Tone::Plain };
    table.row(vec![
        format::per_second(open.rate_per_second).into(),
        time(Some(open.duration_ns)).into(),
        format::count(open.launched as f64).into(),
        Cell::from(format::count(open.dropped as f64)).tone(tone),
        time(open.lag_p50_ns).into(),
        time(open.lag_p99_ns).into(),
        time(open.lag_max_ns).into(),
    ]);
    table.note(format!("This run is {}.", open.validity), if open.valid { Tone::Faint } else { Tone::Bad });
    table.note(
        "Times count from the intended launch. The lag is how late the generator itself was, and a part of them.",
        Tone::Faint,
    );
    table
}
