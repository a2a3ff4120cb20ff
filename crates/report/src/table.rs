//! Tables for a terminal: a title, columns, rows, notes below.
//!
//! A table of figures that is wider than the terminal is folded into blocks that repeat its first column, so that no
//! figure is broken across lines; a table of sentences is wrapped instead. Control characters in any text are shown
//! as `�`: what a guest printed must not steer the terminal.

use comfy_table::{Attribute, Cell as Drawn, CellAlignment, Color, ColumnConstraint, ContentArrangement};

use crate::style::{Style, Tone};

/// What a column holds, which decides how it is aligned and what happens when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Figures and short counts: aligned to the right, never broken.
    Figure,
    /// Names and other short words: aligned to the left, never broken.
    Name,
    /// Sentences: aligned to the left, wrapped.
    Text,
}

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// A mark behind it that a note explains. Figures of a column stay aligned whether marked or not.
    pub mark: Option<char>,
    /// What it says beyond its words.
    pub tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl Cell {
    /// The same text in another tone.
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// A table under construction.
#[derive(Clone, Debug, Default)]
pub struct Table {
    title: String,
    columns: Vec<(String, Column)>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<(String, Tone)>,
}

/// What stands in a table.
pub(crate) struct Content<'a> {
    pub(crate) title: &'a str,
    pub(crate) columns: &'a [(String, Column)],
    pub(crate) rows: &'a [Vec<Cell>],
    pub(crate) notes: &'a [(String, Tone)],
}

impl Table {
    /// A table with a title above it; an empty title is left out.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Appends a column.
    pub fn column(&mut self, heading: impl Into<String>, column: Column) -> &mut Self {
        self.columns.push((heading.into(), column));
        self
    }

    /// Appends a row. Missing cells at its end are empty; cells beyond the last column are not shown.
    pub fn row(&mut self, cells: Vec<Cell>) -> &mut Self {
        self.rows.push(cells);
        self
    }

    /// Appends a note, shown below the table.
    pub fn note(&mut self, note: impl Into<String>, tone: Tone) -> &mut Self {
        self.notes.push((note.into(), tone));
        self
    }

    /// What stands in it, for other media than a terminal.
    pub(crate) fn content(&self) -> Content<'_> {
        Content { title: &self.title, columns: &self.columns, rows: &self.rows, notes: &self.notes }
    }

    /// Draws the table; every line ends with a newline, none is wider than `style.width` unless a single figure is.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        if !self.title.is_empty() {
            for line in wrap(&tame(&self.title), usize::from(style.width)) {
                out.push_str(&style.paint(&line, Tone::Strong));
                out.push('\n');
            }
        }
        for (position, block) in self.blocks(style).iter().enumerate() {
            if position > 0 {
                out.push('\n');
            }
            for line in self.draw(block, style).lines() {
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
        for (note, tone) in &self.notes {
            let width = usize::from(style.width).saturating_sub(4);
            for (position, line) in wrap(&tame(note), width).iter().enumerate() {
                out.push_str(if position == 0 { "  " } else { "    " });
                out.push_str(&style.paint(line, *tone));
                out.push('\n');
            }
        }
        out
    }

    /// The columns of each block, as positions.
    fn blocks(&self, style: Style) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let wraps = self.columns.iter().any(|(_, column)| *column == Column::Text);
        if wraps || all.len() < 3 {
            return if all.is_empty() { Vec::new() } else { vec![all] };
        }
        let widths: Vec<usize> = all.iter().map(|&column| self.width(column)).collect();
        // The first column has no gap before it.
        let limit = usize::from(style.width) + GAP;
        let fewest = fold(&widths, limit).len();
        // No more blocks than needed, and those about equally wide: a last column does not stand alone.
        let balanced = (1..limit).map(|limit| fold(&widths, limit)).find(|blocks| blocks.len() == fewest);
        balanced.unwrap_or_else(|| fold(&widths, limit))
    }

    /// Columns of text that a column takes, its gap included.
    fn width(&self, column: usize) -> usize {
        let marked = usize::from(self.is_marked(column));
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.text.chars().count() + marked).max().unwrap_or(0);
        widest.max(self.columns[column].0.chars().count() + marked) + GAP
    }

    fn is_marked(&self, column: usize) -> bool {
        self.rows.iter().filter_map(|row| row.get(column)).any(|cell| cell.mark.is_some())
    }

    fn draw(&self, columns: &[usize], style: Style) -> String {
        let mut drawn = comfy_table::Table::new();
        drawn.load_style(rules(style.unicode));
        drawn.set_width(style.width);
        drawn.set_content_arrangement(ContentArrangement::Dynamic);
        if style.colour {
            drawn.enforce_styling();
        } else {
            drawn.force_no_tty();
        }
        drawn.set_header(columns.iter().map(|&column| {
            let (heading, kind) = &self.columns[column];
            let mark = if self.is_marked(column) && *kind == Column::Figure { " " } else { "" };
            Drawn::new(format!("{}{mark}", tame(heading))).set_alignment(alignment(*kind))
        }));
        for row in &self.rows {
            drawn.add_row(columns.iter().map(|&column| {
                let cell = row.get(column).cloned().unwrap_or_default();
                let mut text = tame(&cell.text);
                if self.is_marked(column) {
                    text.push(cell.mark.unwrap_or(' '));
                }
                toned(Drawn::new(text).set_alignment(alignment(self.columns[column].1)), cell.tone)
            }));
        }
        for (position, &column) in columns.iter().enumerate() {
            // The column exists: a header with one cell for each was set above.
            let Some(settings) = drawn.column_mut(position) else { continue };
            settings.set_padding((if position == 0 { 0 } else { GAP as u16 }, 0));
            if self.columns[column].1 != Column::Text {
                settings.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        drawn.to_string()
    }
}

/// Spaces between two columns.
const GAP: usize = 2;

/// Columns in order, each block with the first of them and as many others as fit, at least one.
fn fold(widths: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    let mut used = usize::MAX;
    for (column, width) in widths.iter().enumerate().skip(1) {
        match blocks.last_mut() {
            Some(block) if used + width <= limit => {
                block.push(column);
                used += width;
            }
            _ => {
                blocks.push(vec![0, column]);
                used = widths[0] + width;
            }
        }
    }
    blocks
}

fn rules(unicode: bool) -> comfy_table::TableStyle {
    let line = if unicode { '─' } else { '-' };
    comfy_table::TableStyle::new().header_separator(comfy_table::LineStyle::none().fill(line))
}

fn alignment(column: Column) -> CellAlignment {
    match column {
        Column::Figure => CellAlignment::Right,
        Column::Name | Column::Text => CellAlignment::Left,
    }
}

fn toned(cell: Drawn, tone: Tone) -> Drawn {
    match tone {
        Tone::Bad => cell.fg(Color::DarkRed),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Plain => cell,
        Tone::Strong => cell.add_attribute(Attribute::Bold),
        Tone::Warning => cell.fg(Color::DarkYellow),
    }
}

/// Text without anything a terminal would obey.
fn tame(text: &str) -> String {
    let tamed = |character: char| match character {
        '\n' | '\t' => ' ',
        // Marks that reorder text could make a line say something else than its characters.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ if character.is_control() => '\u{fffd}',
        _ => character,
    };
    text.chars().map(tamed).collect()
}

/// Breaks text at spaces into lines of at most `width` characters; longer words stand alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        // There is always a line: the vector starts with one and only grows.
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Table {
        let mut table = Table::new("Figures");
        table.column("metric", Column::Name).column("median", Column::Figure).column("p99", Column::Figure);
        table.row(vec!["tti".into(), "1.234 s".into(), Cell { mark: Some('*'), ..Cell::from("1.5 s") }]);
        table.row(vec!["create".into(), "85.00 µs".into(), "90.25 µs".into()]);
        table.note("* not supported", Tone::Faint);
        table
    }

    #[test]
    fn figures_align_with_and_without_marks() {
        assert_eq!(
            figures().render(Style::default()),
            "Figures\n\
             metric    median       p99\n\
             ───────────────────────────\n\
             tti      1.234 s     1.5 s*\n\
             create  85.00 µs  90.25 µs\n  \
               * not supported\n"
        );
    }

    #[test]
    fn a_narrow_terminal_folds_figures_and_never_breaks_one() {
        let text = figures().render(Style { width: 20, ..Style::default() });
        assert_eq!(text.matches("create").count(), 2, "{text}");
        for figure in ["1.234 s", "1.5 s*", "85.00 µs", "90.25 µs"] {
            assert!(text.contains(figure), "{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 20), "{text}");
    }

    #[test]
    fn sentences_are_wrapped_and_nothing_of_them_lost() {
        let mut table = Table::new("");
        table.column("check", Column::Name).column("finding", Column::Text).column("remedy", Column::Text);
        let words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        table.row(vec!["kvm".into(), words.into(), words.into()]);
        let text = table.render(Style { width: 60, ..Style::default() });
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        for word in words.split(' ') {
            assert!(text.matches(word).count() >= 2, "{word} in {text}");
        }
    }

    #[test]
    fn colours_only_when_asked_for() {
        let mut table = figures();
        table.row(vec![Cell::from("bad").tone(Tone::Bad)]);
        assert!(!table.render(Style::default()).contains('\u{1b}'));
        assert!(table.render(Style { colour: true, ..Style::default() }).contains("\u{1b}["));
    }

    #[test]
    fn ascii_when_asked_for() {
        let mut table = Table::new("t");
        table.column("a", Column::Name).row(vec!["x".into()]);
        assert!(table.render(Style { unicode: false, ..Style::default() }).is_ascii());
    }

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        let mut table = Table::new("a\u{1b}[2Jb");
        table
            .column("x\u{202e}y", Column::Name)
            .row(vec!["p\u{1b}]0;q\u{7}\r\nr".into()])
            .note("\u{9b}31m", Tone::Plain);
        let text = table.render(Style::default());
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{9b}', '\u{202e}']), "{text:?}");
    }
}
