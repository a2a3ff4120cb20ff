//! A report as Markdown: the tables of the HTML page, for issues, wikis and mails. Pictures and raw samples are in the page.

use std::fmt::Write;

use virtmark_model::Run;

use crate::entry::{Entry, entries};
use crate::environment::{self, Fact};
use crate::html::{Options, title};
use crate::overview::{self, Part};
use crate::table::{Cell, Column, Content, Table};
use crate::{ReportError, RunSamples, format, notes};

/// Values with more characters than this are cut: CPU flags, mostly.
const LONGEST_VALUE: usize = 200;
/// With more runs than this, only the conditions that differ have a column for each.
const MOST_COLUMNS: usize = 8;
/// Headings of the figures of a metric.
const FIGURES: [&str; 9] = ["ok", "failed", "median", "95 % interval", "mean", "p95", "p99", "min", "max"];

/// A report about the runs, in the order given, in CommonMark with the tables of GitHub.
///
/// # Errors
/// Without runs, or when a value is not finite.
pub fn report(runs: &[RunSamples], options: &Options) -> Result<String, ReportError> {
    let entries = entries(runs)?;
    let mut text = String::new();
    heading(&mut text, 1, &title(runs, options));
    let written = format::timestamp(options.generated_at);
    paragraph(&mut text, &format!("Written {written} by virtmark {}.", env!("CARGO_PKG_VERSION")));
    if let Some(emulation) = notes::emulation(entries.iter().map(Entry::run)) {
        let _ = writeln!(text, "> **{}**\n", escaped(emulation));
    }
    table(&mut text, &runs_table(&entries).content());
    for part in overview::parts(&entries, options.suite.as_ref())? {
        draw_part(&mut text, &part);
    }
    heading(&mut text, 2, "Figures");
    table(&mut text, &figures(&entries).content());
    for entry in &entries {
        for own in &entry.samples.tables {
            let content = own.content();
            heading(&mut text, 2, &format!("{}: {}", entry.letter, content.title));
            table(&mut text, &content);
        }
    }
    let all: Vec<&Run> = entries.iter().map(Entry::run).collect();
    heading(&mut text, 2, "Environment");
    for section in environment::sections(&all) {
        heading(&mut text, 3, section.title);
        facts(&mut text, &entries, &section.facts);
    }
    heading(&mut text, 2, "Configuration");
    facts(&mut text, &entries, &environment::configuration(&all));
    heading(&mut text, 2, "How to repeat it");
    for entry in &entries {
        if let Some(command) = environment::command_line(entry.run()) {
            listing(&mut text, &format!("{} {}:", entry.letter, entry.run().id), &command);
        }
    }
    if let Some(suite) = &options.suite {
        draw_part(&mut text, &overview::repeat(suite));
    }
    Ok(text)
}

fn draw_part(text: &mut String, part: &Part) {
    heading(text, 2, &part.title);
    for said in &part.texts {
        paragraph(text, said);
    }
    for own in &part.tables {
        let content = own.content();
        if !content.title.is_empty() {
            heading(text, 3, content.title);
        }
        table(text, &content);
    }
    for figure in &part.figures {
        paragraph(text, &format!("{}: a picture in the HTML report.", figure.title));
    }
    for (name, content) in &part.listings {
        listing(text, name, content);
    }
}

fn runs_table(entries: &[Entry<'_>]) -> Table {
    let mut table = Table::new("");
    table.column("", Column::Name).column("step", Column::Name).column("run", Column::Name);
    table.column("started", Column::Name).column("status", Column::Name).column("platform", Column::Text);
    for entry in entries {
        let run = entry.run();
        table.row(vec![
            entry.letter.as_str().into(),
            entry.label().into(),
            run.id.as_str().into(),
            format::timestamp(run.started_at).into(),
            run.status.as_str().into(),
            notes::platform(run).into(),
        ]);
    }
    table
}

fn figures(entries: &[Entry<'_>]) -> Table {
    let mut table = Table::new("");
    table.column("metric", Column::Name).column("", Column::Name);
    for heading in FIGURES {
        table.column(heading, Column::Figure);
    }
    for entry in entries {
        for metric in &entry.metrics {
            let mut row: Vec<Cell> = vec![(&*metric.name).into(), entry.letter.as_str().into()];
            row.push(format::count(metric.succeeded() as f64).into());
            row.push(format::count(metric.failed() as f64).into());
            if let Some(summary) = &metric.summary {
                let value = |number: f64| Cell::from(format::value(number, metric.unit));
                let interval = summary.median_ci95;
                row.push(value(summary.median));
                row.push(interval.map_or_else(
                    || "–".into(),
                    |interval| format::range(interval.low, interval.high, metric.unit, "–").into(),
                ));
                row.push(value(summary.mean));
                for percentile in [summary.p95, summary.p99] {
                    let mark = (!percentile.supported).then_some('*');
                    row.push(Cell { mark, ..value(percentile.value) });
                }
                row.extend([value(summary.min), value(summary.max)]);
            } else {
                row.resize_with(FIGURES.len() + 2, || "–".into());
            }
            table.row(row);
        }
    }
    for note in notes::summary(entries) {
        table.note(note, crate::Tone::Plain);
    }
    table
}

/// Conditions with a column for each run; where there are many runs, those that are the same for all in one column, and
/// of the others who has what.
fn facts(text: &mut String, entries: &[Entry<'_>], facts: &[Fact]) {
    let mut drawn = Table::new("");
    drawn.column("", Column::Name);
    let each = entries.len() <= MOST_COLUMNS;
    if each {
        entries.iter().for_each(|entry| {
            drawn.column(entry.letter.as_str(), Column::Text);
        });
    } else {
        drawn.column("value", Column::Text);
    }
    for fact in facts {
        let mark = if fact.differs() { "≠ " } else { "" };
        let mut row = vec![Cell::from(format!("{mark}{}", fact.name))];
        if each {
            row.extend(fact.values.iter().map(|value| Cell::from(cut(value.as_deref()))));
        } else {
            row.push(grouped(entries, fact).into());
        }
        drawn.row(row);
    }
    table(text, &drawn.content());
}

/// The values of a fact, each with who has it unless all do.
fn grouped(entries: &[Entry<'_>], fact: &Fact) -> String {
    let said = fact.grouped().into_iter().map(|(value, who)| {
        let value = cut(value);
        if who.len() == entries.len() {
            return value;
        }
        let letters: Vec<&str> = who.iter().map(|position| entries[*position].letter.as_str()).collect();
        format!("{value} ({})", letters.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}

fn cut(value: Option<&str>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.chars().count() > LONGEST_VALUE => {
            value.chars().take(LONGEST_VALUE).chain(['…']).collect()
        }
        Some(value) => value.into(),
    }
}

fn heading(text: &mut String, level: usize, title: &str) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "{} {}\n", "#".repeat(level), escaped(title));
}

fn paragraph(text: &mut String, said: &str) {
    let _ = writeln!(text, "{}\n", escaped(said));
}

fn table(text: &mut String, content: &Content<'_>) {
    if !content.rows.is_empty() {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(content.columns.iter().map(|(heading, _)| escaped(heading)).collect()));
        let rule = |column| if column == Column::Figure { "---:" } else { "---" };
        text.push_str(&line(content.columns.iter().map(|(_, column)| rule(*column).to_owned()).collect()));
        for row in content.rows {
            let cell = |position: usize| {
                row.get(position).map_or_else(String::new, |cell| {
                    let mark = cell.mark.map(String::from).unwrap_or_default();
                    escaped(&format!("{}{mark}", cell.text))
                })
            };
            text.push_str(&line((0..content.columns.len()).map(cell).collect()));
        }
        text.push('\n');
    }
    for (note, _) in content.notes {
        let _ = writeln!(text, "- {}", escaped(note));
    }
    if !content.notes.is_empty() {
        text.push('\n');
    }
}

/// A block of code, fenced with more backticks than stand in it.
fn listing(text: &mut String, name: &str, content: &str) {
    let longest = content.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(text, "{}\n\n{fence}\n{}\n{fence}\n", escaped(name), content.trim_end());
}

/// Text that is no markup, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(letter);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            _ if letter.is_control() => out.push(' '),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    fn document(runs: &[RunSamples]) -> String {
        report(runs, &Options::default()).unwrap()
    }

    #[test]
    fn a_report_has_every_figure_and_says_emulation() {
        let one = RunSamples::new(fixtures::run("tti", 0, fixtures::tcg()), fixtures::tti_samples(1, 20));
        let two = RunSamples::new(fixtures::run("tti", 1, fixtures::kvm()), fixtures::tti_samples(2, 7));
        let text = document(&[one, two]);
        assert!(text.starts_with("# virtmark: tti\n"));
        assert!(text.contains("> **Software emulation (TCG)"));
        for expected in
            ["## Platforms", "## Figures", "## Environment", "≠ Accelerator", "virtmark tti --count 50"]
        {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }

    #[test]
    fn every_table_is_as_wide_as_its_heading() {
        let runs: Vec<RunSamples> = (0..12)
            .map(|number| {
                let run = fixtures::run("tti", number, fixtures::tcg());
                RunSamples::new(run, fixtures::tti_samples(u64::from(number) + 1, 3))
            })
            .collect();
        let text = document(&runs);
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
            assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:?}");
        }
        // Twelve columns would not fit; who differs is told in words.
        assert!(
            text.contains("≠ Frequency governor | performance (A); – (B, C, D, E, F, G, H, I, J, K, L) |"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn names_do_not_become_markup(text in "\\PC*|[|`*_\\[\\]<>&\n\\x00-\\x1f]{0,20}") {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(['\n', '<', '>']));
            let mut before = ' ';
            for letter in escaped.chars() {
                if "|*`".contains(letter) { prop_assert_eq!(before, '\\') }
                before = if before == '\\' && letter == '\\' { ' ' } else { letter };
            }
        }

        #[test]
        fn a_fence_is_longer_than_what_it_holds(text in "[`a\n]{0,30}") {
            let mut out = String::new();
            listing(&mut out, "x", &text);
            let fence = out.lines().nth(2).unwrap().to_owned();
            prop_assert!(fence.len() >= 3 && !text.contains(&fence));
        }
    }
}
