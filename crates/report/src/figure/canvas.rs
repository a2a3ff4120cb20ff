//! What all figures share: the frame, text, colours, and how they change in dark mode.

use std::fmt::Display;

use super::Figure;
use super::axis::{Axis, Tick};
use crate::markup::{Attributes, Markup};

/// Width of every figure, in units; a unit is a pixel at natural size.
pub(super) const WIDTH: f64 = 800.0;
/// Height of a line of text.
pub(super) const LINE: f64 = 18.0;

/// Okabe and Ito's colours that can be told from white paper, the strongest first.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#595959"];
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

/// Curves that look different.
pub(super) const LOOKS: usize = COLOURS.len() * DASHES.len();

/// Classes `cN` are colours, `ink` text, `faint` secondary text, `grid` and `frame` lines.
pub(super) const STYLE_SHEET: &str = "
.figure text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-variant-numeric:tabular-nums}
@media screen and (prefers-color-scheme:dark){
.figure .paper{fill:#16191d}
.figure .ink{fill:#e6e6e6}.figure .faint{fill:#a9b0b8}
.figure .grid{stroke:#343a41}.figure .frame{stroke:#7d858e}
.figure .line.c0{stroke:#56b4e9}.figure .area.c0{fill:#56b4e9}
.figure .line.c1{stroke:#f0803c}.figure .area.c1{fill:#f0803c}
.figure .line.c2{stroke:#2cc39a}.figure .area.c2{fill:#2cc39a}
.figure .line.c5{stroke:#8fd0f5}.figure .area.c5{fill:#8fd0f5}
.figure .line.c6{stroke:#c4c9ce}.figure .area.c6{fill:#c4c9ce}
}
";

/// The colour of the n-th thing.
pub(super) fn colour(position: usize) -> &'static str {
    COLOURS[position % COLOURS.len()]
}

/// The dashes of the n-th curve: the first is solid. 4 kinds and 7 colours have no common divisor, so [`LOOKS`]
/// curves look different.
pub(super) fn dashes(position: usize) -> &'static str {
    DASHES[position % DASHES.len()]
}

/// The class that names the colour of the n-th thing.
pub(super) fn class(kind: &str, position: usize) -> String {
    format!("{kind} c{}", position % COLOURS.len())
}

/// What a figure is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// An SVG document of its own.
    Document,
    /// An element of an HTML document, which has the style sheet.
    Inline,
    /// Pixels: colours of print, no style sheet.
    Raster,
}

/// The SVG element with title, content and notes. `content` draws below `top` and says where it ended.
pub(super) fn frame(
    figure: &Figure,
    markup: &mut Markup,
    medium: Medium,
    height: f64,
    content: impl FnOnce(&mut Markup, f64),
) {
    let title_lines = wrap(&figure.title, 92);
    let note_lines: Vec<String> = figure.notes.iter().flat_map(|note| wrap(note, 122)).collect();
    let top = 10.0 + LINE * title_lines.len() as f64 + 6.0;
    let bottom = top + height;
    let total = bottom + LINE * note_lines.len() as f64 + 10.0;
    let total = number(total);
    let view = format!("0 0 {WIDTH} {total}");
    let mut attributes: Vec<(&str, &dyn Display)> = Vec::new();
    if medium != Medium::Inline {
        attributes.push(("xmlns", &"http://www.w3.org/2000/svg"));
        attributes.push(("width", &WIDTH));
        attributes.push(("height", &total));
    }
    attributes.extend([
        ("class", &"figure" as &dyn Display),
        ("viewBox", &view),
        ("role", &"img"),
        ("aria-label", &figure.title),
        ("font-family", &"sans-serif"),
        ("font-size", &"13"),
    ]);
    markup.element("svg", &attributes, |svg| {
        if medium == Medium::Document {
            svg.style_sheet(STYLE_SHEET);
        }
        if medium != Medium::Inline {
            svg.empty(
                "rect",
                &[("class", &"paper"), ("width", &WIDTH), ("height", &total), ("fill", &"#fff")],
            );
        }
        for (position, line) in title_lines.iter().enumerate() {
            let y = 10.0 + LINE * (position as f64 + 0.72);
            text(svg, 8.0, y, line, &[("class", &"ink"), ("font-size", &"15"), ("font-weight", &"600")]);
        }
        content(svg, top);
        for (position, line) in note_lines.iter().enumerate() {
            let y = bottom + LINE * (position as f64 + 0.75);
            faint(svg, 8.0, y, line, "start");
        }
    });
    markup.newline();
}

/// A text in the colour of text, or of `attributes`.
pub(super) fn text(svg: &mut Markup, x: f64, y: f64, content: impl Display, attributes: Attributes<'_>) {
    let (x, y) = (number(x), number(y));
    let mut all: Vec<(&str, &dyn Display)> = vec![("x", &x), ("y", &y)];
    if !attributes.iter().any(|(name, _)| *name == "fill") {
        all.push(("fill", &"#1a1a1a"));
    }
    all.extend_from_slice(attributes);
    svg.leaf("text", &all, content);
}

/// A secondary text.
pub(super) fn faint(svg: &mut Markup, x: f64, y: f64, content: impl Display, anchor: &str) {
    text(
        svg,
        x,
        y,
        content,
        &[("class", &"faint"), ("fill", &"#595959"), ("font-size", &"12"), ("text-anchor", &anchor)],
    );
}

/// A secondary text that reads upwards, centred on a point: the name of a vertical axis.
pub(super) fn turned(svg: &mut Markup, x: f64, y: f64, content: impl Display) {
    let turned = format!("rotate(-90 {} {})", number(x), number(y));
    text(
        svg,
        x,
        y,
        content,
        &[
            ("class", &"faint"),
            ("fill", &"#595959"),
            ("font-size", &"12"),
            ("text-anchor", &"middle"),
            ("transform", &turned),
        ],
    );
}

/// An entry of a legend: a piece of the curve at this position, and what is said of it.
pub(super) fn legend_entry(svg: &mut Markup, position: usize, top: f64, said: String) {
    let middle = top + LINE / 2.0;
    svg.empty(
        "line",
        &[
            ("class", &class("line", position)),
            ("x1", &"8"),
            ("y1", &number(middle)),
            ("x2", &"44"),
            ("y2", &number(middle)),
            ("stroke", &colour(position)),
            ("stroke-width", &"2.5"),
            ("stroke-dasharray", &dashes(position)),
        ],
    );
    text(svg, 52.0, middle + 4.5, said, &[("class", &"ink")]);
}

/// A straight line of the grid or the frame.
pub(super) fn rule(svg: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    let stroke = if class == "grid" { "#dedede" } else { "#767676" };
    svg.empty(
        "line",
        &[
            ("class", &class),
            ("x1", &number(from.0)),
            ("y1", &number(from.1)),
            ("x2", &number(to.0)),
            ("y2", &number(to.1)),
            ("stroke", &stroke),
        ],
    );
}

/// Grid lines and labels of a horizontal axis whose labels stand below `bottom`.
pub(super) fn horizontal_axis(svg: &mut Markup, axis: &Axis, ticks: &[Tick], top: f64, bottom: f64) {
    // Labels closer than their width would run into each other.
    let mut free_from = f64::NEG_INFINITY;
    for tick in ticks {
        let x = axis.position(tick.value);
        rule(svg, "grid", (x, top), (x, bottom));
        let half = tick.label.chars().count() as f64 * 3.6 + 4.0;
        if x - half >= free_from {
            faint(svg, x, bottom + 16.0, &tick.label, "middle");
            free_from = x + half;
        }
    }
}

/// A coordinate to a hundredth of a unit, without needless zeros.
pub(super) fn number(value: f64) -> String {
    let mut text = format!("{value:.2}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "-0" { "0".into() } else { text }
}

/// A name that fits, its end replaced by an ellipsis if need be.
pub(super) fn shortened(name: &str, characters: usize) -> String {
    if name.chars().count() <= characters {
        return name.into();
    }
    name.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

fn wrap(text: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(shortened(word, characters)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short() {
        assert_eq!(number(12.0), "12");
        assert_eq!(number(12.504), "12.5");
        assert_eq!(number(-0.001), "0");
        assert_eq!(number(100.0), "100");
    }

    #[test]
    fn curves_of_one_colour_differ_by_their_dashes() {
        let looks: Vec<_> = (0..LOOKS).map(|position| (colour(position), dashes(position))).collect();
        for (position, look) in looks.iter().enumerate() {
            assert!(!looks[..position].contains(look), "{position}");
        }
    }

    #[test]
    fn long_lines_are_broken_and_long_words_cut() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("abcdefgh", 5), ["abcd…"]);
        assert!(wrap("", 5).is_empty());
    }
}
