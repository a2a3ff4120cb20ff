//! How a suite went, for people and machines.

use virtmark_model::{Run, Sample};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, Tone, format};
use virtmark_suite::SuiteReport;

use crate::output;

/// Prints what there is to say of a suite: a table of its steps for people, JSON for machines.
pub(crate) fn present(run: &Run, samples: &[Sample], quiet: bool) -> anyhow::Result<()> {
    let report = SuiteReport::from_samples(run, samples);
    if !quiet {
        output::people(&format!("\n{}", table(&report).render(Style::for_stderr())));
        output::people(&format!("again: virtmark report {} -o report.html\n", report.suite_id));
    }
    output::json(&report)
}

fn table(report: &SuiteReport) -> Table {
    let mut table = Table::new(format!("{} {}: {}", report.suite_id, report.name, report.status.as_str()));
    table.column("step", Column::Name).column("run", Column::Name);
    table.column("exit", Column::Figure).column("took", Column::Figure);
    for step in &report.steps {
        let repeated = report.steps.iter().any(|other| other.step == step.step && other.repetition > 1);
        let name = if repeated { format!("{} #{}", step.label, step.repetition) } else { step.label.clone() };
        let tone = if step.exit == Some(0) { Tone::Plain } else { Tone::Bad };
        table.row(vec![
            name.into(),
            step.run_id.as_deref().unwrap_or("-").into(),
            Cell::from(step.exit.map_or_else(|| "-".into(), |exit| exit.to_string())).tone(tone),
            step.duration_ns.map_or_else(|| "-".into(), |ns| format::duration_ns(ns as f64)).into(),
        ]);
    }
    for step in &report.steps {
        if let Some(message) = &step.message {
            table.note(format!("{}: {message}", step.label), Tone::Bad);
        }
    }
    table
}
