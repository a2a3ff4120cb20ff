//! Typed results: lines that a payload prints among its other output.
//!
//! ```text
//! virtmark: metric NAME VALUE UNIT [better=higher|lower]
//! ```
//!
//! The output around them is any bytes, of any length.

mod results;
mod unit;

use std::fmt;

use serde::{Deserialize, Serialize};
use virtmark_model::Unit;

pub use results::{MALFORMED_KEPT, METRICS_KEPT, Results};

/// What a line with a metric begins with.
pub const PREFIX: &str = "virtmark: metric ";
/// A longer line is no metric. Whatever the length of a line, the parser keeps no more of it.
pub const LINE_LIMIT_BYTES: usize = 1024;
const NAME_LIMIT_BYTES: usize = 64;
const UNIT_LIMIT_BYTES: usize = 32;

/// One result of a payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What was measured: letters, digits, `_`, `.`, `/` and `-`, at most 64, a letter first.
    pub name: String,
    /// A finite number, in the unit.
    pub value: f64,
    /// As the payload writes it.
    pub unit: String,
    /// Which direction is the better one; none where the payload does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
}

/// Which direction of a metric is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Throughput.
    Higher,
    /// Time.
    Lower,
}

impl Better {
    /// As lines and labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

/// A metric in the units of the archive.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The unit of the sample.
    pub unit: Unit,
    /// In that unit; finite.
    pub value: f64,
    /// What is counted, where the unit alone does not say it: `bit/s`, `events/s`, `frames`. For a label.
    pub of: Option<String>,
}

impl Metric {
    /// Reads a line, without its line ending.
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        let rest = line.strip_prefix(PREFIX).ok_or("does not begin with `virtmark: metric `")?;
        let mut words = rest.split_ascii_whitespace();
        let (Some(name), Some(value), Some(unit)) = (words.next(), words.next(), words.next()) else {
            return Err("a name, a value and a unit are expected");
        };
        if !is_name(name) {
            return Err(
                "the name must be letters, digits, `_`, `.`, `/` and `-`, at most 64, a letter first",
            );
        }
        if unit.len() > UNIT_LIMIT_BYTES || !unit.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the unit must be at most 32 printable characters of ASCII");
        }
        let better = match words.next() {
            None => None,
            Some("better=higher") => Some(Better::Higher),
            Some("better=lower") => Some(Better::Lower),
            Some(_) => return Err("only better=higher or better=lower may follow the unit"),
        };
        if words.next().is_some() {
            return Err("nothing may follow better=");
        }
        let value = number(value).ok_or("the value must be a finite decimal number")?;
        let metric = Self { name: name.into(), value, unit: unit.into(), better };
        if !metric.reading().value.is_finite() {
            return Err("the value is too large for its unit");
        }
        Ok(metric)
    }

    /// The value in the unit of the archive: times in nanoseconds, sizes in bytes, rates per second.
    pub fn reading(&self) -> Reading {
        unit::reading(self.value, &self.unit)
    }
}

/// As [`Metric::parse`] reads it.
impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{} {} {}", self.name, self.value, self.unit)?;
        match self.better {
            Some(better) => write!(formatter, " better={}", better.as_str()),
            None => Ok(()),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LIMIT_BYTES
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "_./-".contains(character))
}

/// A decimal number, with an exponent if need be: not what else Rust takes for one (`inf`, `nan`).
fn number(text: &str) -> Option<f64> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f64 = text.parse().ok().filter(|_| decimal)?;
    value.is_finite().then_some(value)
}

/// What a line was that looked like a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// One.
    Metric(Metric),
    /// None, after all.
    Malformed(Malformed),
}

/// A line that begins like a metric and is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Malformed {
    /// Which line of the output, from 1.
    pub line: u64,
    /// How it begins, at most 120 characters; what is not UTF-8 is replaced.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, text, why } = self;
        write!(formatter, "line {line} of the output is no metric: {why}: {text:?}")
    }
}

/// Finds metrics in output as it comes, however it is cut.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line at hand, as far as it can still be a metric, and one byte more than it may have.
    kept: Vec<u8>,
    /// Line endings so far.
    lines: u64,
}

impl Parser {
    /// One at the start of the output.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the output. Each line that begins like a metric is handed on when it ends.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Line)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            self.end_line(&mut each);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The output is over: a last line may lack its end.
    pub fn finish(mut self, mut each: impl FnMut(Line)) {
        self.end_line(&mut each);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (LINE_LIMIT_BYTES + 1).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, each: &mut impl FnMut(Line)) {
        self.lines += 1;
        let line = std::mem::take(&mut self.kept);
        if line.starts_with(PREFIX.trim_end().as_bytes()) {
            each(self.read(&line));
        }
        // Its room is used again.
        self.kept = line;
        self.kept.clear();
    }

    fn read(&self, line: &[u8]) -> Line {
        let trimmed = line.strip_suffix(b"\r").unwrap_or(line);
        let read = match std::str::from_utf8(trimmed) {
            _ if line.len() > LINE_LIMIT_BYTES => Err("the line is longer than 1024 bytes"),
            Err(_) => Err("the line is not UTF-8"),
            Ok(text) => Metric::parse(text),
        };
        match read {
            Ok(metric) => Line::Metric(metric),
            Err(why) => {
                let text = String::from_utf8_lossy(trimmed).chars().take(120).collect();
                Line::Malformed(Malformed { line: self.lines, text, why: why.into() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut parser = Parser::new();
        chunks.iter().for_each(|chunk| parser.push(chunk, |line| lines.push(line)));
        parser.finish(|line| lines.push(line));
        lines
    }

    fn metric(name: &str, value: f64, unit: &str, better: Option<Better>) -> Metric {
        Metric { name: name.into(), value, unit: unit.into(), better }
    }

    #[test]
    fn metrics_are_found_among_any_bytes() {
        let output = b"hello\n\xff\xfe\x00 virtmark: metric no 1 ms\nvirtmark: metric a/b 1.5e3 ms better=lower\r\n\
                       virtmark: metrics\nvirtmark: metric  c   -2\t%\nvirtmark: metric d 3 events/s better=higher";
        let expected = [
            Line::Metric(metric("a/b", 1500.0, "ms", Some(Better::Lower))),
            Line::Malformed(Malformed {
                line: 4,
                text: "virtmark: metrics".into(),
                why: "does not begin with `virtmark: metric `".into(),
            }),
            Line::Metric(metric("c", -2.0, "%", None)),
            Line::Metric(metric("d", 3.0, "events/s", Some(Better::Higher))),
        ];
        assert_eq!(read(&[output]), expected);
    }

    #[test]
    fn what_only_looks_like_a_metric_is_told() {
        let long = format!("virtmark: metric {} 1 s", "x".repeat(2000));
        for (line, expected) in [
            ("virtmark: metric", "does not begin"),
            ("virtmark: metric ", "a name, a value and a unit"),
            ("virtmark: metric a 1", "a name, a value and a unit"),
            ("virtmark: metric 1a 1 s", "the name"),
            ("virtmark: metric a inf s", "finite"),
            ("virtmark: metric a NaN s", "finite"),
            ("virtmark: metric a 1e999 s", "finite"),
            ("virtmark: metric a 0x10 s", "finite"),
            ("virtmark: metric a 1,5 s", "finite"),
            ("virtmark: metric a 1e305 s", "too large"),
            ("virtmark: metric a 1 \u{b5}s", "the unit"),
            ("virtmark: metric a 1 s better=more", "only better="),
            ("virtmark: metric a 1 s better=lower x", "nothing may follow"),
            (long.as_str(), "longer than 1024"),
        ] {
            let lines = read(&[line.as_bytes()]);
            let [Line::Malformed(malformed)] = lines.as_slice() else { panic!("{line}: {lines:?}") };
            assert!(malformed.why.contains(expected), "{line}: {}", malformed.why);
            assert_eq!(malformed.line, 1);
        }
        let lines = read(&[b"virtmark: metric \xff 1 s\n"]);
        assert!(matches!(&lines[..], [Line::Malformed(malformed)] if malformed.why.contains("UTF-8")));
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut parser = Parser::new();
        for _ in 0..1000 {
            parser.push(&[b'x'; 1 << 16], |line| panic!("{line:?}"));
        }
        assert!(parser.kept.capacity() < 4 << 10);
        let mut lines = Vec::new();
        parser.push(b"\nvirtmark: metric a 1 s\n", |line| lines.push(line));
        assert_eq!(lines, [Line::Metric(metric("a", 1.0, "s", None))]);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            name in "[a-z][a-z0-9_./-]{0,63}",
            value in prop::num::f64::NORMAL.prop_filter("finite in nanoseconds", |value| value.abs() < 1e200),
            unit in "[!-~]{1,32}",
            better in prop::option::of(prop::sample::select(vec![Better::Higher, Better::Lower])),
        ) {
            let metric = Metric { name, value, unit, better };
            prop_assert_eq!(Metric::parse(&metric.to_string()), Ok(metric));
        }

        #[test]
        fn any_line_is_read_or_told(line in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut output = PREFIX.as_bytes().to_vec();
            output.extend(&line);
            let lines = line.split(|byte| *byte == b'\n').skip(1);
            let more = lines.filter(|line| line.starts_with(PREFIX.trim_end().as_bytes())).count();
            prop_assert_eq!(read(&[&output]).len(), 1 + more);
        }
    }
}
