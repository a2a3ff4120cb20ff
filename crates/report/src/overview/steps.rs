//! How the steps of a suite ended.

use super::{Part, Suite};
use crate::entry::Entry;
use crate::format;
use crate::style::Tone;
use crate::table::{Cell, Column, Table};

pub(super) fn part(suite: &Suite, entries: &[Entry<'_>]) -> Part {
    let mut table = Table::new("");
    table.column("step", Column::Name).column("", Column::Name).column("run", Column::Name);
    table.column("exit code", Column::Figure).column("took", Column::Figure).column("remark", Column::Text);
    for step in &suite.steps {
        let repeated = suite.steps.iter().any(|other| other.step == step.step && other.repetition > 1);
        let name = if repeated { format!("{} #{}", step.label, step.repetition) } else { step.label.clone() };
        let entry = entries.iter().find(|entry| step.run_id.as_deref() == Some(entry.run().id.as_str()));
        let tone = if step.exit == Some(0) { Tone::Plain } else { Tone::Bad };
        table.row(vec![
            name.into(),
            entry.map_or("", |entry| entry.letter.as_str()).into(),
            step.run_id.as_deref().unwrap_or("–").into(),
            Cell::from(step.exit.map_or_else(|| "not run".into(), |exit| exit.to_string())).tone(tone),
            step.duration_ns.map_or_else(|| "–".into(), |ns| format::duration_ns(ns as f64)).into(),
            step.message.as_deref().unwrap_or_default().into(),
        ]);
    }
    let ended = |good: bool| {
        suite.steps.iter().filter(|step| step.exit.is_some_and(|exit| (exit == 0) == good)).count()
    };
    let skipped = suite.steps.iter().filter(|step| step.exit.is_none()).count();
    let mut said = format!("{}: {} of {} steps succeeded", suite.id, ended(true), suite.steps.len());
    for (count, what) in [(ended(false), "failed"), (skipped, "were not run")] {
        if count > 0 {
            said.push_str(&format!(", {count} {what}"));
        }
    }
    said.push('.');
    let texts = std::iter::once(said).chain(suite.remarks.iter().cloned()).collect();
    Part { title: "Steps of the suite".into(), texts, tables: vec![table], ..Part::default() }
}
