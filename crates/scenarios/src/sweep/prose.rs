//! Figures and sentences as a plain text has them.

/// Lines are broken before this many characters.
const WIDTH: usize = 100;

/// A paragraph with a prefix, broken between words; further lines are indented by the prefix.
pub(super) fn paragraph(text: &mut String, prefix: &str, said: &str) {
    let indent = " ".repeat(characters(prefix));
    let mut line = prefix.to_owned();
    let mut empty = true;
    // What belongs together is not broken.
    let said = said.replace(" = ", TIED_EQUALS).replace(" %", TIED_PERCENT);
    for word in said.split([' ', '\n']).filter(|word| !word.is_empty()) {
        let word = &word.replace('\u{a0}', " ");
        if !empty && characters(&line) + 1 + characters(word) > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line.clone_from(&indent);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

const TIED_EQUALS: &str = "\u{a0}=\u{a0}";
const TIED_PERCENT: &str = "\u{a0}%";

pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".into(),
        // What is there but rounds to nothing.
        percent if percent < 0.005 => "<0.01 %".into(),
        percent => format!("{percent:.2} %"),
    }
}

/// Whole from 100 on, with commas; three digits below.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let digits = format!("{value:.decimals$}");
    let (whole, part) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + part
}

pub(super) fn plural(count: usize, of: &str) -> String {
    format!("{} {of}{}", number(count as f64), if count == 1 { "" } else { "s" })
}

pub(super) fn characters(text: &str) -> usize {
    text.chars().count()
}
