//! How the steps of a suite ended.

use super::{Part, Suite};
use crate::entry::Entry;
use crate::format;
use crate::style::Tone;
use crate::table::{Cell, Column, Table};

pub(super) fn part(suite: &Suite, entries: &[Entry<'_>]) -> Part {
    let mut table = Table::new("");
    table.column("step", Column::Name).column("", Column::Name).column("run", Column::Name);
    table.column("exit code", Column::Figure).column("took", Column::Figure);
    let remarks = suite.steps.iter().any(|step| step.message.is_some());
    if remarks {
        table.column("remark", Column::Text);
    }
    for step in &suite.steps {
        let name = step.name(&suite.steps);
        let entry = entries.iter().find(|entry| step.run_id.as_deref() == Some(entry.run().id.as_str()));
        let tone = if step.exit == Some(0) { Tone::Plain } else { Tone::Bad };
        let mut row = vec![
            name.into(),
            entry.map_or("", |entry| entry.letter.as_str()).into(),
            step.run_id.as_deref().unwrap_or("–").into(),
            Cell::from(step.exit.map_or_else(|| "not run".into(), |exit| exit.to_string())).tone(tone),
            step.duration_ns.map_or_else(|| "–".into(), |ns| format::took_ns(ns as f64)).into(),
        ];
        if remarks {
            row.push(step.message.as_deref().unwrap_or_default().into());
        }
        table.row(row);
    }
    let ended = |good: bool| {
        suite.steps.iter().filter(|step| step.exit.is_some_and(|exit| (exit == 0) == good)).count()
    };
    let not_run = suite.steps.iter().filter(|step| step.exit.is_none()).count();
    let left = usize::try_from(suite.left).unwrap_or(usize::MAX);
    let all = suite.steps.len().saturating_add(left);
    let mut said = format!("{}: {} of {all} steps succeeded", suite.id, ended(true));
    for (count, what) in [(ended(false), "failed"), (not_run, "not run"), (left, "left")] {
        if count > 0 {
            said.push_str(&format!(", {count} {what}"));
        }
    }
    let took: u64 = suite.steps.iter().filter_map(|step| step.duration_ns).sum();
    said.push_str(&format!(". Together they took {}.", format::took_ns(took as f64)));
    let texts = std::iter::once(said).chain(suite.remarks.iter().cloned()).collect();
    let listings = suite.go_on.iter().map(|command| ("To go on:".to_owned(), command.clone())).collect();
    Part { title: "Steps of the suite".into(), texts, tables: vec![table], listings, ..Part::default() }
}
