//! A run's figures, in the form of its scenario: JSON for machines, tables for people.

use std::collections::BTreeMap;

use anyhow::Context;
use virtmark_fleet::FleetReport;
use virtmark_model::{Run, Sample};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{ExtraColumn, RunSamples, format, sections, terminal};
use virtmark_report::{Style, Tone};
use virtmark_scenarios::capture::{self, CaptureReport};
use virtmark_scenarios::guest::{self, GuestReport};
use virtmark_scenarios::lifecycle::{self, LifecycleReport, Operation};
use virtmark_scenarios::migrate::{self, MigrateReport};
use virtmark_scenarios::pace::Concurrent;
use virtmark_scenarios::restore::{self, RestoreReport};
use virtmark_scenarios::sweep::{self, Sweep, SweepReport};
use virtmark_scenarios::tti::{self, TtiReport};

use super::sweep::{footer as sweep_footer, knee_with, text as sweep_text};
use crate::failure::Failure;
use crate::output;

/// What standard output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    Json,
}

/// Prints what there is to say of a run: tables to standard error, the scenario's report to standard output.
pub(crate) fn present(run: &Run, samples: &[Sample], form: Form, quiet: bool) -> anyhow::Result<()> {
    let context = || format!("cannot compute the figures of run {}", run.id);
    match run.scenario.as_str() {
        tti::SCENARIO => {
            let report = TtiReport::from_samples(run, samples).with_context(context)?;
            if !quiet {
                tell(run, samples, report.concurrent.as_ref().map(ramp))?;
            }
            output::json(&report)
        }
        restore::SCENARIO => {
            let report = RestoreReport::from_samples(run, samples).with_context(context)?;
            if !quiet {
                tell(run, samples, report.concurrent.as_ref().map(ramp))?;
            }
            output::json(&report)
        }
        lifecycle::SCENARIO => {
            let report = LifecycleReport::from_samples(run, samples).with_context(context)?;
            if !quiet {
                tell(run, samples, None)?;
            }
            match form {
                Form::Csv => output::stdout(|output| report.write_csv(output)),
                Form::Json => output::json(&report),
            }
        }
        migrate::SCENARIO => {
            let report = MigrateReport::from_samples(run, samples).with_context(context)?;
            if !quiet {
                tell(run, samples, None)?;
            }
            match form {
                Form::Csv => output::stdout(|output| report.write_csv(output)),
                Form::Json => output::json(&report),
            }
        }
        capture::SCENARIO => {
            let report = CaptureReport::from_samples(run, samples);
            if !quiet {
                let style = Style::for_stderr();
                output::people(&format!("\n{}", lives(&report).render(style)));
                output::people(&format!("\n{}", footer(run)));
            }
            output::json(&report)
        }
        sweep::SCENARIO => {
            let report = SweepReport::from_samples(run, samples);
            if !quiet && !report.rows.is_empty() {
                let knee = knee_with(run.configuration["sweep"]["slo"].as_str());
                output::people(&format!("\n{}\n{}", sweep_text(&report.rows, &knee), sweep_footer(&report)));
            }
            output::json(&report)
        }
        guest::SCENARIO => {
            let report = GuestReport::from_samples(run, samples).with_context(context)?;
            if !quiet {
                output::people(&super::guest::tables(&report));
            }
            output::json(&report)
        }
        virtmark_fleet::SCENARIO => super::vmrun::present(&FleetReport::from_samples(run, samples), quiet),
        other => {
            let message = format!(
                "run {} is of scenario {other:?}, which this virtmark does not know; `virtmark export {}` writes it out",
                run.id, run.id
            );
            Err(Failure { exit: crate::exit::Exit::Unexpected, message }.into())
        }
    }
}

/// A run with what its scenario has to say of each metric beyond the figures.
pub(crate) fn with_judgement(run: Run, samples: Vec<Sample>) -> anyhow::Result<RunSamples> {
    let mut all = RunSamples::new(run, samples);
    match all.run.scenario.as_str() {
        guest::SCENARIO => {
            let report = GuestReport::from_samples(&all.run, &all.samples)?;
            all.overheads = sections::overheads(&report.overhead);
        }
        lifecycle::SCENARIO => {
            let report = LifecycleReport::from_samples(&all.run, &all.samples)?;
            let grades = Operation::ALL.into_iter().map(|operation| {
                (operation.metric().to_owned(), report.operation(operation).grade_text.clone())
            });
            let by_metric = BTreeMap::from_iter(grades);
            all.extra.push(ExtraColumn { title: "guide's target".into(), by_metric });
        }
        migrate::SCENARIO => {
            let report = MigrateReport::from_samples(&all.run, &all.samples)?;
            all.tables = vec![super::migrate::table(&report)];
        }
        restore::SCENARIO => {
            all.tables = sections::of_restore(&RestoreReport::from_samples(&all.run, &all.samples)?);
        }
        sweep::SCENARIO => {
            let report = SweepReport::from_samples(&all.run, &all.samples);
            let knee = knee_with(all.run.configuration["sweep"]["slo"].as_str());
            // A sweep that was stopped before its first run has nothing to draw.
            if !report.rows.is_empty() {
                let figures = virtmark_report::sweep::figures(&Sweep::from_rows(&report.rows, &knee)?);
                all.figures = figures.into_iter().map(|named| named.figure).collect();
            }
        }
        tti::SCENARIO => {
            all.tables = sections::of_tti(&TtiReport::from_samples(&all.run, &all.samples)?);
        }
        _ => {}
    }
    Ok(all)
}

fn tell(run: &Run, samples: &[Sample], ramp: Option<Table>) -> anyhow::Result<()> {
    let style = Style::for_stderr();
    let run_samples = with_judgement(run.clone(), samples.to_vec())?;
    output::people(&format!("\n{}", terminal::run_summary(&run_samples, style)?));
    if let Some(ramp) = ramp {
        output::people(&format!("\n{}", ramp.render(style)));
    }
    output::people(&format!("\n{}", footer(run)));
    Ok(())
}

/// What measuring cost, and where to find the run again.
fn footer(run: &Run) -> String {
    let mut text = String::new();
    if let Some(cost) = &run.environment.harness {
        text.push_str(&format!(
            "virtmark itself: {} of CPU time, {} of memory at most, over {} machine{} with warm-ups",
            format::duration_ns(cost.cpu_ns as f64),
            format::bytes(cost.max_rss_bytes as f64),
            format::count(cost.iterations as f64),
            if cost.iterations == 1 { "" } else { "s" }
        ));
        if let Some(steal_ns) = run.environment.steal_ns {
            text.push_str(&format!(
                "; CPU time stolen from this host: {}",
                format::duration_ns(steal_ns as f64)
            ));
        }
        text.push('\n');
    }
    text.push_str(&format!("again: virtmark show {}\n", run.id));
    text
}

/// What each source has kept of each life.
fn lives(report: &CaptureReport) -> Table {
    let mut table = Table::new("what is left of short lives");
    table.column("machine", Column::Name);
    table.column("lived", Column::Figure);
    table.column("source", Column::Name);
    for heading in ["expected", "stored", "rate"] {
        table.column(heading, Column::Figure);
    }
    table.column("phases told apart", Column::Text);
    let count = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    for life in &report.lives {
        let lived = life.lived_ns.map_or_else(|| "failed".into(), |ns| format::duration_ns(ns as f64));
        for (position, source) in life.sources.iter().enumerate() {
            let first = position == 0;
            let phases = match (&source.phases_told_apart, &source.skipped) {
                (_, Some(reason)) => format!("skipped: {reason}"),
                (Some(phases), None) if phases.is_empty() => "none".into(),
                (Some(phases), None) => phases.join(", "),
                (None, None) => "-".into(),
            };
            table.row(vec![
                Cell::from(if first { life.machine.as_str() } else { "" }),
                if first { lived.clone() } else { String::new() }.into(),
                source.source.as_str().into(),
                count(source.points_expected).into(),
                count(source.points_stored).into(),
                source.capture_rate.map_or_else(|| "-".into(), format::percent).into(),
                phases.into(),
            ]);
        }
        if life.sources.is_empty() {
            let mut row = vec![Cell::from(life.machine.as_str()), lived.into()];
            row.resize_with(7, || Cell::from("-"));
            table.row(row);
        }
    }
    if report.emulated {
        table.note(
            "Software emulation (TCG): lives are as long as anywhere, but their CPU use is the emulator's.",
            Tone::Plain,
        );
    }
    table
}

/// The machines of a concurrent run, in the order of launch.
fn ramp(concurrent: &Concurrent) -> Table {
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".into(), |ns| format::duration_ns(ns as f64));
    let mut table = Table::new("ramp: times from the first launch of the wave");
    table.column("machine", Column::Name);
    for heading in ["wave", "launched", "ready", "tti"] {
        table.column(heading, Column::Figure);
    }
    for point in &concurrent.ramp {
        table.row(vec![
            Cell::from(point.machine.as_str()),
            point.wave.to_string().into(),
            time(Some(point.launched_ns)).into(),
            time(point.ready_ns).into(),
            time(point.tti_ns).into(),
        ]);
    }
    table.note(
        format!(
            "wall clock {}, first machine ready after {}, at most {} machines at once in {} wave{}; destroying \
             machines is in none of it",
            time(concurrent.wall_clock_ns),
            time(concurrent.time_to_first_ready_ns),
            concurrent.concurrency,
            concurrent.waves,
            if concurrent.waves == 1 { "" } else { "s" },
        ),
        Tone::Plain,
    );
    table
}
