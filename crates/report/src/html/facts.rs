//! What the runs ran on, how they were configured, and how to repeat them.

use virtmark_model::Run;

use super::{Entry, tables};
use crate::environment::{self, Fact};
use crate::markup::Markup;

/// With more runs than this, values stand in one column, each with who has it: nobody reads a hundred columns.
const MOST_COLUMNS: usize = 8;
/// Longer values are folded away: CPU flags, mostly.
const FOLD_FROM: usize = 200;

pub(super) fn draw(body: &mut Markup, entries: &[Entry<'_>]) {
    let runs: Vec<&Run> = entries.iter().map(Entry::run).collect();
    body.element("section", &[], |section| {
        section.leaf("h2", &[], "Environment");
        draw_environment(section, entries, &runs);
    });
    let options = environment::configuration(&runs);
    if !options.is_empty() {
        body.element("section", &[], |section| {
            section.leaf("h2", &[], "Configuration");
            draw_table(section, entries, |rows| {
                options.iter().for_each(|fact| draw_fact(rows, entries, fact))
            });
        });
    }
    draw_commands(body, entries);
}

fn draw_environment(section: &mut Markup, entries: &[Entry<'_>], runs: &[&Run]) {
    let groups = environment::sections(runs);
    if entries.len() > 1 {
        let differing = groups.iter().flat_map(|group| &group.facts).filter(|fact| fact.differs()).count();
        let said = match differing {
            0 => "The runs do not differ in any recorded condition.".into(),
            1 => "The runs differ in one condition, marked ≠.".into(),
            _ => format!("The runs differ in {differing} conditions, marked ≠."),
        };
        section.leaf("p", &[], said);
    }
    draw_table(section, entries, |rows| {
        for group in &groups {
            rows.element("tr", &[("class", &"section")], |row| {
                row.leaf("th", &[("colspan", &(columns(entries) + 1))], group.title);
            });
            group.facts.iter().for_each(|fact| draw_fact(rows, entries, fact));
        }
    });
}

fn draw_table(section: &mut Markup, entries: &[Entry<'_>], rows: impl FnOnce(&mut Markup)) {
    let mut headings = vec![("", "")];
    if columns(entries) > 1 {
        headings.extend(entries.iter().map(|entry| (entry.letter.as_str(), "")));
    } else {
        headings.push(("value", ""));
    }
    tables::table(section, &headings, rows);
}

/// Columns of values.
fn columns(entries: &[Entry<'_>]) -> usize {
    if entries.len() > MOST_COLUMNS { 1 } else { entries.len() }
}

fn draw_fact(rows: &mut Markup, entries: &[Entry<'_>], fact: &Fact) {
    let (class, mark) = if fact.differs() { ("differs", "≠ ") } else { ("same", "") };
    rows.element("tr", &[("class", &class)], |row| {
        row.leaf("th", &[("scope", &"row")], format!("{mark}{}", fact.name));
        if columns(entries) < entries.len() {
            return draw_grouped(row, entries, fact);
        }
        for value in &fact.values {
            match value {
                None => tables::cell(row, "value", "–"),
                Some(value) if value.chars().count() >= FOLD_FROM => draw_folded(row, value),
                Some(value) => tables::cell(row, "value", value),
            }
        }
    });
    rows.newline();
}

/// The values of a fact, each with who has it unless all do.
fn draw_grouped(row: &mut Markup, entries: &[Entry<'_>], fact: &Fact) {
    row.element("td", &[("class", &"value")], |cell| {
        for (position, (value, who)) in fact.grouped().into_iter().enumerate() {
            if position > 0 {
                cell.empty("br", &[]);
            }
            let value = value.unwrap_or("–");
            if value.chars().count() >= FOLD_FROM {
                cell.element("details", &[], |details| {
                    details.leaf("summary", &[], format!("{} words", value.split_whitespace().count()));
                    details.text(value);
                });
            } else {
                cell.text(value);
            }
            if who.len() < entries.len() {
                let letters: Vec<&str> = who.iter().map(|at| entries[*at].letter.as_str()).collect();
                cell.leaf("span", &[("class", &"faint small")], format!(" {}", letters.join(" ")));
            }
        }
    });
}

fn draw_folded(row: &mut Markup, value: &str) {
    row.element("td", &[("class", &"value")], |cell| {
        cell.element("details", &[], |details| {
            details.leaf("summary", &[], format!("{} words", value.split_whitespace().count()));
            details.text(value);
        });
    });
}

fn draw_commands(body: &mut Markup, entries: &[Entry<'_>]) {
    let commands: Vec<(&Entry<'_>, String)> =
        entries.iter().filter_map(|entry| Some((entry, environment::command_line(entry.run())?))).collect();
    if commands.is_empty() {
        return;
    }
    body.element("section", &[], |section| {
        section.leaf("h2", &[], "How to repeat it");
        for (entry, command) in commands {
            if entries.len() > 1 {
                section.leaf(
                    "p",
                    &[("class", &"faint small")],
                    format!("{} {}", entry.letter, entry.run().id),
                );
            }
            section.leaf("pre", &[], command);
        }
    });
    body.newline();
}
