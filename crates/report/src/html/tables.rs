//! Tables and notes of the document.

use std::fmt::Display;

use crate::markup::Markup;

/// A table under headings given as `(text, class)`; `rows` writes the rows.
pub(super) fn table(markup: &mut Markup, headings: &[(&str, &str)], rows: impl FnOnce(&mut Markup)) {
    markup.element("div", &[("class", &"scroll")], |scroll| {
        scroll.element("table", &[], |table| {
            table.element("thead", &[], |head| {
                head.element("tr", &[], |row| {
                    for (text, class) in headings {
                        row.leaf("th", &[("class", class)], text);
                    }
                });
            });
            table.newline();
            table.element("tbody", &[], rows);
        });
    });
    markup.newline();
}

/// A cell.
pub(super) fn cell(row: &mut Markup, class: &str, text: impl Display) {
    if class.is_empty() { row.leaf("td", &[], text) } else { row.leaf("td", &[("class", &class)], text) }
}

/// Notes below a table; nothing when there are none.
pub(super) fn notes(markup: &mut Markup, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    markup.element("ul", &[("class", &"notes")], |list| {
        for note in notes {
            list.leaf("li", &[], note);
        }
    });
    markup.newline();
}
