//! The runs of a sweep as JSON lines: the columns of the CSV as keys, and what the CSV has no column for.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::read_error::{Place, ReadError};
use super::row::Row;

/// The unit of `ru_maxrss`.
const RSS_UNIT: &str = "KiB";

/// Writes one row as one line.
///
/// # Errors
/// Those of the writer.
pub fn write_row(output: &mut dyn Write, row: &Row) -> io::Result<()> {
    let line = Line { row, ru_maxrss_unit: row.ru_maxrss_kib.map(|_| RSS_UNIT) };
    serde_json::to_writer(&mut *output, &line)?;
    output.write_all(b"\n")
}

/// Reads all rows. Empty lines are passed over, keys that are not known as well, and a last line that a crash cut off.
///
/// # Errors
/// [`ReadError::Refused`] with line and byte, for what is no such row.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Row>, ReadError> {
    let lines = text[..whole_lines(text)].lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| parse_line(line, index + 1, origin)).collect()
}

/// How many bytes of a text are whole lines: all but a last one without an end that stops in the middle of its JSON.
pub(super) fn whole_lines(text: &str) -> usize {
    let start = text.rfind('\n').map_or(0, |end| end + 1);
    let cut_off =
        |last: &str| serde_json::from_str::<serde::de::IgnoredAny>(last).is_err_and(|error| error.is_eof());
    if cut_off(&text[start..]) { start } else { text.len() }
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    row: &'a Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    ru_maxrss_unit: Option<&'static str>,
}

#[derive(Deserialize)]
struct Units {
    #[serde(default)]
    ru_maxrss_unit: Option<String>,
}

fn parse_line(line: &str, number: usize, origin: &str) -> Result<Row, ReadError> {
    let refused = |place, problem| ReadError::Refused { origin: origin.into(), place, problem };
    let unreadable = |error: serde_json::Error| {
        // The error ends with its own place, whose line is always the first.
        let problem = error.to_string();
        let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
        let column = Some(error.column()).filter(|column| *column > 0);
        refused(Place { column, ..Place::line(number) }, problem.to_owned())
    };
    if !line.trim_start().starts_with('{') {
        return Err(refused(Place { column: Some(1), ..Place::line(number) }, "it is no object".into()));
    }
    let row: Row = serde_json::from_str(line).map_err(unreadable)?;
    let units: Units = serde_json::from_str(line).map_err(unreadable)?;
    let named = |name: &str| Place { name: Some(name.to_owned()), ..Place::line(number) };
    if let Some(unit) = units.ru_maxrss_unit.filter(|unit| unit != RSS_UNIT) {
        return Err(refused(named("ru_maxrss_unit"), format!("{unit:?} is not {RSS_UNIT}")));
    }
    match row.problem() {
        Some((name, problem)) => Err(refused(named(name), problem)),
        None => Ok(row),
    }
}
