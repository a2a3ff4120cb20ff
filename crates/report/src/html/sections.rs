//! What scenarios have to say beyond metrics, as tables and figures.

use super::{Entry, tables};
use crate::markup::Markup;
use crate::overview::Part;
use crate::style::Tone;
use crate::table::{Column, Content};

/// A part of the overview.
pub(super) fn draw_part(body: &mut Markup, part: &Part) {
    body.element("section", &[], |section| {
        section.leaf("h2", &[], &part.title);
        for text in &part.texts {
            section.leaf("p", &[], text);
        }
        for table in &part.tables {
            let content = table.content();
            if !content.title.is_empty() {
                section.leaf("h3", &[], content.title);
            }
            draw_content(section, &content);
        }
        for figure in &part.figures {
            section.element("figure", &[], |drawn| figure.draw_inline(drawn));
        }
        for (name, text) in &part.listings {
            section.leaf("p", &[("class", &"faint small")], name);
            section.leaf("pre", &[], text);
        }
    });
    body.newline();
}

pub(super) fn draw(body: &mut Markup, entries: &[Entry<'_>]) {
    for entry in entries {
        let letter = if entries.len() > 1 { format!("{}: ", entry.letter) } else { String::new() };
        for table in &entry.samples.tables {
            let content = table.content();
            body.element("section", &[], |section| {
                section.leaf("h2", &[], format!("{letter}{}", content.title));
                draw_content(section, &content);
            });
        }
        if !entry.samples.figures.is_empty() {
            body.element("section", &[], |section| {
                section.leaf("h2", &[], format!("{letter}Load"));
                for figure in &entry.samples.figures {
                    section.element("figure", &[], |drawn| figure.draw_inline(drawn));
                }
            });
        }
    }
}

/// Rows and notes of a table, without its title.
fn draw_content(section: &mut Markup, content: &Content<'_>) {
    let class = |column| if column == Column::Figure { "figure" } else { "" };
    let headings: Vec<(&str, &str)> =
        content.columns.iter().map(|(text, column)| (text.as_str(), class(*column))).collect();
    if !content.rows.is_empty() {
        tables::table(section, &headings, |rows| {
            for cells in content.rows {
                rows.element("tr", &[], |row| {
                    for (cell, (_, column)) in cells.iter().zip(content.columns) {
                        let mark = cell.mark.map(String::from).unwrap_or_default();
                        let bad = if cell.tone == Tone::Bad { " bad" } else { "" };
                        let class = format!("{}{bad}", class(*column));
                        tables::cell(row, class.trim(), format!("{}{mark}", cell.text));
                    }
                });
                rows.newline();
            }
        });
    }
    let notes: Vec<String> = content.notes.iter().map(|(note, _)| note.clone()).collect();
    tables::notes(section, &notes);
}
