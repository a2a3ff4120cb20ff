//! What scenarios have to say beyond metrics, as tables and figures.

use super::{Entry, tables};
use crate::markup::Markup;
use crate::style::Tone;
use crate::table::Column;

pub(super) fn draw(body: &mut Markup, entries: &[Entry<'_>]) {
    for entry in entries {
        for table in &entry.samples.tables {
            let content = table.content();
            body.element("section", &[], |section| {
                let letter = if entries.len() > 1 { format!("{}: ", entry.letter) } else { String::new() };
                section.leaf("h2", &[], format!("{letter}{}", content.title));
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
            });
        }
        if !entry.samples.figures.is_empty() {
            body.element("section", &[], |section| {
                let letter = if entries.len() > 1 { format!("{}: ", entry.letter) } else { String::new() };
                section.leaf("h2", &[], format!("{letter}Load"));
                for figure in &entry.samples.figures {
                    section.element("figure", &[], |drawn| figure.draw_inline(drawn));
                }
            });
        }
    }
}
