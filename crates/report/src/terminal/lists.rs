//! Lists: runs, checks of the host, environments.

use virtmark_model::{Run, RunStatus, Unit};

use crate::style::{Style, Tone};
use crate::table::{Cell, Column, Table};
use crate::{environment, format, notes};

/// One run in a list.
#[derive(Clone, Copy, Debug)]
pub struct RunRow<'a> {
    /// The run.
    pub run: &'a Run,
    /// How it stands, in a word: its status, or what became of a process that never ended it.
    pub state: &'a str,
    /// Samples that succeeded.
    pub succeeded: u64,
    /// Samples that failed.
    pub failed: u64,
    /// Median of the run's headline metric; absent when nothing of it succeeded.
    pub headline: Option<(f64, Unit)>,
}

/// Runs, one a line, in the order given.
pub fn runs_list(rows: &[RunRow<'_>], style: Style) -> String {
    let mut table = Table::new("");
    for heading in ["run", "scenario", "started", "status", "platform"] {
        table.column(heading, Column::Name);
    }
    for heading in ["ok", "failed", "median"] {
        table.column(heading, Column::Figure);
    }
    for row in rows {
        let run = row.run;
        let facts = &run.environment.hypervisor;
        let accelerator = match facts.nested_in_emulation {
            true => facts.execution().map(|words| format!("/{words}")),
            false => facts.accelerator.map(|accelerator| format!("/{accelerator}")),
        };
        let accelerator = accelerator.unwrap_or_default();
        let emulated = facts.is_emulated();
        table.row(vec![
            Cell::from(run.id.as_str()).tone(Tone::Strong),
            run.scenario.as_str().into(),
            format::timestamp(run.started_at).trim_end_matches(" UTC").into(),
            Cell::from(row.state).tone(status_tone(run.status)),
            Cell { mark: emulated.then_some('~'), ..Cell::from(format!("{}{accelerator}", facts.name)) },
            format::count(row.succeeded as f64).into(),
            Cell::from(format::count(row.failed as f64)).tone(if row.failed > 0 {
                Tone::Bad
            } else {
                Tone::Plain
            }),
            row.headline.map_or_else(|| "-".into(), |(median, unit)| format::value(median, unit)).into(),
        ]);
    }
    if rows.is_empty() {
        table.note("There are no runs.", Tone::Plain);
        return table.render(style);
    }
    table.note("Times are UTC.", Tone::Faint);
    if let Some(emulation) = notes::emulation(rows.iter().map(|row| row.run)) {
        table.note(format!("~ {emulation}"), Tone::Warning);
    }
    table.render(style)
}

fn status_tone(status: RunStatus) -> Tone {
    match status {
        RunStatus::Complete => Tone::Good,
        RunStatus::Failed => Tone::Bad,
        RunStatus::Interrupted | RunStatus::Running => Tone::Warning,
    }
}

/// How a check of the host went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    /// Something cannot work as it is.
    Bad,
    /// All is well.
    Good,
    /// It does not apply here.
    Skipped,
    /// It works, but figures may suffer.
    Warning,
}

/// One check of the host.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// How it went.
    pub status: CheckStatus,
    /// What was checked.
    pub title: &'a str,
    /// What was found.
    pub finding: &'a str,
    /// What to do about it.
    pub remedy: Option<&'a str>,
}

/// Checks of the host, one a row, with a line below that counts them.
pub fn checks(checks: &[Check<'_>], style: Style) -> String {
    let mut table = Table::new("");
    table.column("", Column::Name).column("check", Column::Name);
    table.column("finding", Column::Text).column("what to do", Column::Text);
    for check in checks {
        let (word, tone) = match check.status {
            CheckStatus::Bad => ("bad", Tone::Bad),
            CheckStatus::Good => ("ok", Tone::Good),
            CheckStatus::Skipped => ("skip", Tone::Faint),
            CheckStatus::Warning => ("warn", Tone::Warning),
        };
        table.row(vec![
            Cell::from(word).tone(tone),
            check.title.into(),
            check.finding.into(),
            check.remedy.unwrap_or_default().into(),
        ]);
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    table.note(
        format!(
            "{} ok, {} warn, {} bad, {} skip",
            count(CheckStatus::Good),
            count(CheckStatus::Warning),
            count(CheckStatus::Bad),
            count(CheckStatus::Skipped)
        ),
        Tone::Plain,
    );
    table.render(style)
}

/// The environments of runs side by side. `≠` (`!` without Unicode) marks a condition in which the runs differ.
pub fn environment_table(runs: &[&Run], style: Style) -> String {
    let mark = if style.unicode { "≠" } else { "!" };
    let mut table = Table::new("Environment");
    table.column("", Column::Name).column("what", Column::Name);
    for run in runs {
        table.column(run.id.as_str(), Column::Text);
    }
    for fact in environment::sections(runs).into_iter().flat_map(|section| section.facts) {
        let differs = fact.differs();
        let tone = if differs { Tone::Warning } else { Tone::Plain };
        let mut cells = vec![Cell::from(if differs { mark } else { "" }).tone(tone), fact.name.into()];
        cells.extend(
            fact.values.into_iter().map(|value| Cell::from(value.unwrap_or_else(|| "-".into())).tone(tone)),
        );
        table.row(cells);
    }
    if let Some(emulation) = notes::emulation(runs.iter().copied()) {
        table.note(emulation, Tone::Warning);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn runs_stand_one_a_line_with_emulation_marked() {
        let (mut one, two) =
            (fixtures::run("tti", 0, fixtures::tcg()), fixtures::run("lifecycle", 1, fixtures::kvm()));
        one.status = RunStatus::Interrupted;
        let headline = Some((1.234e9, Unit::Ns));
        let rows = [
            RunRow { run: &one, state: "interrupted", succeeded: 48, failed: 2, headline },
            RunRow { run: &two, state: "complete", succeeded: 0, failed: 1_000, headline: None },
        ];
        insta::assert_snapshot!(runs_list(&rows, Style { width: 120, ..Style::default() }));
        assert!(runs_list(&[], Style::default()).contains("There are no runs."));
    }

    #[test]
    fn checks_say_what_was_found_and_what_to_do() {
        let rows = [
            Check { status: CheckStatus::Good, title: "QEMU", finding: "7.2.0", remedy: None },
            Check {
                status: CheckStatus::Warning,
                title: "KVM",
                finding: "/dev/kvm is there, but a probe guest did not run on it",
                remedy: Some("Run on a host with nested virtualisation, or accept software emulation"),
            },
        ];
        insta::assert_snapshot!(checks(&rows, Style { width: 80, ..Style::default() }));
    }

    #[test]
    fn differing_conditions_are_marked_without_colour() {
        let (one, two) = (fixtures::run("tti", 0, fixtures::tcg()), fixtures::run("tti", 1, fixtures::kvm()));
        let text = environment_table(&[&one, &two], Style::default());
        let marked: Vec<&str> = text.lines().filter(|line| line.starts_with('≠')).collect();
        assert_eq!(marked.len(), 3, "{text}");
        assert!(text.contains("Software emulation (TCG)"));
    }
}
