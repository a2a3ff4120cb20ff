//! The runs of a sweep as CSV, with exactly the columns of the guide to performance testing in a resource-capped machine.

use std::io::{self, Write};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::csv_text::{self, Record};
use super::micros;
use super::read_error::{Place, ReadError};
use super::row::Row;

/// The columns, in the order in which they are written.
pub const COLUMNS: [&str; 17] = [
    "ts",
    "plan",
    "vcpus",
    "cpu_threads",
    "io_threads",
    "async",
    "concurrency",
    "duration_sec",
    "run_idx",
    "qps",
    "p50_us",
    "p90_us",
    "p99_us",
    "max_us",
    "ru_maxrss",
    "exit_code",
    "timeout_killed",
];

/// Another name of `ru_maxrss` that the guide uses.
const RSS_WITH_UNIT: &str = "ru_maxrss_kb";

/// Writes the names of the columns as one line.
///
/// # Errors
/// Those of the writer.
pub fn write_header(output: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "{}", COLUMNS.join(","))
}

/// Writes one row as one line; what is absent is an empty cell.
///
/// # Errors
/// Those of the writer.
pub fn write_row(output: &mut dyn Write, row: &Row) -> io::Result<()> {
    let cells = [
        cell(row.ts),
        csv_text::field(&row.plan),
        cell(row.vcpus),
        cell(row.cpu_threads),
        cell(row.io_threads),
        cell(row.asynchronous.map(u8::from)),
        cell(row.concurrency),
        cell(row.duration_sec),
        cell(row.run_idx),
        // Display of a float has no exponent, and reads back as the same float.
        cell(row.qps),
        cell(row.p50_ns.map(micros::text)),
        cell(row.p90_ns.map(micros::text)),
        cell(row.p99_ns.map(micros::text)),
        cell(row.max_ns.map(micros::text)),
        cell(row.ru_maxrss_kib),
        cell(row.exit_code),
        cell(row.timeout_killed.map(u8::from)),
    ];
    writeln!(output, "{}", cells.join(","))
}

/// Reads a CSV with these columns in any order, written here or by another tool; further columns are passed over.
///
/// A time without an offset is taken as universal time, `ru_maxrss_kb` as `ru_maxrss`, and 12.0 as a whole number.
///
/// # Errors
/// [`ReadError::Refused`] with line and column for what is no such file.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Row>, ReadError> {
    let refused =
        |place: Place, problem: String| ReadError::Refused { origin: origin.into(), place, problem };
    let records = csv_text::records(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut records =
        records.map(|record| record.map_err(|(line, problem)| refused(Place::line(line), problem)));
    let Some(header) = records.next().transpose()? else {
        let expected = format!("it is empty; expected the columns {}", COLUMNS.join(","));
        return Err(refused(Place::line(1), expected));
    };
    let positions = positions(&header).map_err(|(place, problem)| refused(place, problem))?;
    let width = header.fields.len();
    let mut rows = Vec::new();
    for record in records {
        let record = record?;
        if record.fields.len() != width {
            let found = format!("the header has {width} cells, and this row {}", record.fields.len());
            return Err(refused(Place::line(record.line), found));
        }
        rows.push(row(&record, &positions).map_err(|(place, problem)| refused(place, problem))?);
    }
    Ok(rows)
}

type Refusal = (Place, String);

/// Where each column stands.
fn positions(header: &Record) -> Result<[usize; COLUMNS.len()], Refusal> {
    let mut positions = [None; COLUMNS.len()];
    for (at, name) in header.fields.iter().enumerate() {
        let name = match name.trim() {
            RSS_WITH_UNIT => "ru_maxrss",
            name => name,
        };
        let Some(column) = COLUMNS.iter().position(|column| *column == name) else { continue };
        if positions[column].replace(at).is_some() {
            let place = Place { line: header.line, column: Some(at + 1), name: Some(name.into()) };
            return Err((place, "there is a column of this name already".into()));
        }
    }
    let missing: Vec<&str> =
        COLUMNS.iter().zip(&positions).filter(|(_, at)| at.is_none()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(positions.map(|at| at.unwrap_or_default()));
    }
    let plural = if missing.len() == 1 { "" } else { "s" };
    let problem = format!("the header lacks the column{plural} {}", missing.join(", "));
    Err((Place::line(header.line), problem))
}

fn row(record: &Record, positions: &[usize; COLUMNS.len()]) -> Result<Row, Refusal> {
    let place = |column: usize| Place {
        line: record.line,
        column: Some(positions[column] + 1),
        name: Some(COLUMNS[column].into()),
    };
    let text = |column: usize| record.fields[positions[column]].trim();
    let row = Row {
        ts: optional(text(0), moment).map_err(|problem| (place(0), problem))?,
        plan: record.fields[positions[1]].clone(),
        vcpus: optional(text(2), whole).map_err(|problem| (place(2), problem))?,
        cpu_threads: optional(text(3), whole).map_err(|problem| (place(3), problem))?,
        io_threads: optional(text(4), whole).map_err(|problem| (place(4), problem))?,
        asynchronous: optional(text(5), flag).map_err(|problem| (place(5), problem))?,
        concurrency: optional(text(6), whole).map_err(|problem| (place(6), problem))?,
        duration_sec: optional(text(7), number).map_err(|problem| (place(7), problem))?,
        run_idx: optional(text(8), whole).map_err(|problem| (place(8), problem))?,
        qps: optional(text(9), number).map_err(|problem| (place(9), problem))?,
        p50_ns: optional(text(10), latency).map_err(|problem| (place(10), problem))?,
        p90_ns: optional(text(11), latency).map_err(|problem| (place(11), problem))?,
        p99_ns: optional(text(12), latency).map_err(|problem| (place(12), problem))?,
        max_ns: optional(text(13), latency).map_err(|problem| (place(13), problem))?,
        ru_maxrss_kib: optional(text(14), whole).map_err(|problem| (place(14), problem))?,
        exit_code: optional(text(15), whole).map_err(|problem| (place(15), problem))?,
        timeout_killed: optional(text(16), flag).map_err(|problem| (place(16), problem))?,
        ..Row::default()
    };
    match row.problem() {
        None => Ok(row),
        Some((name, problem)) => {
            let column = COLUMNS.iter().position(|column| *column == name);
            Err((column.map_or_else(|| Place::line(record.line), place), problem))
        }
    }
}

fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let local = || {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    };
    text.parse()
        .ok()
        .or_else(local)
        .ok_or_else(|| format!("{text:?} is no time; expected one like 2026-01-25T12:00:00Z"))
}

fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    // Tools that know no whole number beside an empty cell write 12.0.
    let plain = text.split_once('.').filter(|(_, part)| part.bytes().all(|byte| byte == b'0'));
    plain
        .map_or(text, |(whole, _)| whole)
        .parse()
        .map_err(|_| format!("{text:?} is not a whole number that fits; what is absent is an empty cell"))
}

fn number(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is not a number; what is absent is an empty cell"))
}

fn latency(text: &str) -> Result<u64, String> {
    micros::to_ns(number(text)?)
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "0" | "false" | "0.0" => Ok(false),
        "1" | "true" | "1.0" => Ok(true),
        _ => Err(format!("{text:?} is neither 1 nor 0")),
    }
}
