//! How a suite went, for people and machines.

use std::path::PathBuf;

use virtmark_archive::Archive;
use virtmark_model::{Outcome, Run, RunStatus, Sample};
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Style, Tone, format};
use virtmark_suite::{SuiteReport, suite_of};

use super::record::{Part, parts};
use crate::args::ArchiveArguments;
use crate::output;

/// Prints the suite that a run of it did a part of.
pub(crate) fn show(
    archive: &Archive,
    run: &Run,
    options: &ArchiveArguments,
    quiet: bool,
) -> anyhow::Result<()> {
    let parts = parts(archive, suite_of(run).unwrap_or(run.id.as_str()))?;
    match report(&parts) {
        Some(report) => present(&report, options, quiet),
        None => Ok(()),
    }
}

/// How the suite went whose parts these are; none when there are none.
pub(in crate::commands) fn report(parts: &[Part]) -> Option<SuiteReport> {
    SuiteReport::from_parts(parts.iter().map(|part| (&part.run, part.samples.as_slice())))
}

/// Whether something of the suite was not run, or not again after it failed: it can be gone on with.
pub(in crate::commands) fn is_unfinished(parts: &[Part], report: &SuiteReport) -> bool {
    let is_skip = |sample: &Sample| matches!(sample.outcome, Outcome::Skipped { .. });
    let last = parts.last();
    report.left > 0
        || report.status != RunStatus::Complete
        || last.is_some_and(|part| part.samples.iter().any(is_skip))
}

/// Prints what there is to say of a suite: a table of its steps for people, JSON for machines.
pub(super) fn present(report: &SuiteReport, options: &ArchiveArguments, quiet: bool) -> anyhow::Result<()> {
    if !quiet {
        let (id, archive) = (&report.suite_id, flag_of(options));
        output::people(&format!("\n{}", table(report).render(Style::for_stderr())));
        output::people(&format!("again: virtmark show {id}{archive}\n"));
        output::people(&format!("as a page: virtmark report {id}{archive} -o report.html\n"));
    }
    output::json(report)
}

/// What a command wants to find the same archive, a blank before it; nothing for the one that it finds anyway.
fn flag_of(options: &ArchiveArguments) -> String {
    let flag = |path: &PathBuf| format!(" --archive {}", format::shell_word(&path.to_string_lossy()));
    options.archive.as_ref().map(flag).unwrap_or_default()
}

/// The command that goes on with a suite.
pub(in crate::commands) fn resume(file: &str, id: &str, options: &ArchiveArguments) -> String {
    format!("virtmark suite run {} --resume {id}{}", format::shell_word(file), flag_of(options))
}

fn table(report: &SuiteReport) -> Table {
    let mut title = format!("{} {}: {}", report.suite_id, report.name, report.status.as_str());
    if report.parts.len() > 1 {
        title.push_str(&format!(", made in {} parts", report.parts.len()));
    }
    let mut table = Table::new(title);
    table.column("step", Column::Name).column("run", Column::Name);
    table.column("exit", Column::Figure).column("took", Column::Figure);
    for step in &report.steps {
        let name = step.name(&report.steps);
        let tone = if step.exit == Some(0) { Tone::Plain } else { Tone::Bad };
        table.row(vec![
            name.into(),
            step.run_id.as_deref().unwrap_or("-").into(),
            Cell::from(step.exit.map_or_else(|| "-".into(), |exit| exit.to_string())).tone(tone),
            step.duration_ns.map_or_else(|| "-".into(), |ns| format::took_ns(ns as f64)).into(),
        ]);
    }
    for step in &report.steps {
        if let Some(message) = &step.message {
            table.note(format!("{}: {message}", step.label), Tone::Bad);
        }
    }
    let left = match report.left {
        0 => return table,
        1 => "One step is left.".into(),
        more => format!("{more} steps are left."),
    };
    table.note(left, Tone::Plain);
    table
}
