//! The JSON that fio prints (`--output-format=json`): 3 has nanoseconds and bytes, 2 microseconds and KiB.

use std::io;

use serde_json::Value;

use super::{ParseError, Reader, clip};

const READER: Reader = Reader("fio");

/// Which half of a job is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What it read.
    Read,
    /// What it wrote.
    Write,
}

/// What a job measured in one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// fio's own name with its version, as in `fio-3.33`.
    pub version: Option<String>,
    /// Bytes in a second.
    pub bytes_per_second: f64,
    /// Operations in a second.
    pub operations_per_second: f64,
    /// Bytes that were read or written in all.
    pub bytes: f64,
    /// 99th percentile of the time from submission to completion; absent where it is not printed.
    pub p99_ns: Option<f64>,
}

/// Reads the first job. What fio says before its JSON is left aside.
///
/// # Errors
/// When there is no JSON or no job in it, or the job failed: with fio's words for it where it printed them.
pub fn job(text: &str, direction: Direction) -> Result<Job, ParseError> {
    let start = if text.starts_with('{') { Some(0) } else { text.find("\n{").map(|at| at + 1) };
    let said = &text[..start.unwrap_or(text.len())];
    let Some(start) = start else {
        return Err(told(said).unwrap_or_else(|| READER.unreadable("there is no JSON in it")));
    };
    // What follows the object is fio's as well: messages of threads that ended late.
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    let output = match values.next() {
        Some(Ok(output)) => output,
        Some(Err(error)) => return Err(READER.unreadable(format!("its JSON is damaged: {error}"))),
        None => return Err(READER.unreadable("there is no JSON in it")),
    };
    let job = output.pointer("/jobs/0").ok_or_else(|| READER.unreadable("there is no job in it"))?;
    match job.get("error").and_then(Value::as_i64) {
        None | Some(0) => {}
        Some(number) => {
            let message = match i32::try_from(number) {
                Ok(errno) => format!("its job ended with: {}", io::Error::from_raw_os_error(errno)),
                Err(_) => format!("its job ended with error {number}"),
            };
            return Err(told(said).unwrap_or(ParseError::Failed { tool: "fio", message }));
        }
    }
    let name = match direction {
        Direction::Read => "read",
        Direction::Write => "write",
    };
    let side = job.get(name).ok_or_else(|| READER.unreadable(format!("its job has no {name:?}")))?;
    let is_2 = side.get("clat_ns").is_none() && side.get("bw_bytes").is_none();
    let kib = 1024.0;
    let bytes_per_second = match side.get("bw_bytes") {
        Some(_) => figure(side, "bw_bytes")?,
        None => figure(side, "bw")? * kib,
    };
    // Version 2 counts what it calls bytes in KiB.
    let bytes = figure(side, "io_bytes")? * if is_2 { kib } else { 1.0 };
    Ok(Job {
        version: output.get("fio version").and_then(Value::as_str).map(Into::into),
        bytes_per_second,
        operations_per_second: figure(side, "iops")?,
        bytes,
        p99_ns: p99_ns(side),
    })
}

fn figure(side: &Value, name: &str) -> Result<f64, ParseError> {
    let value = side.get(name).ok_or_else(|| READER.unreadable(format!("its job has no {name:?}")))?;
    value.as_f64().filter(|value| value.is_finite() && *value >= 0.0).ok_or_else(|| {
        READER.unreadable(format!("{name:?} is {}, which is no figure", clip(&value.to_string())))
    })
}

fn p99_ns(side: &Value) -> Option<f64> {
    let at = |name: &str| side.get(name)?.pointer("/percentile/99.000000")?.as_f64();
    at("clat_ns").or_else(|| at("clat").map(|microseconds| microseconds * 1e3))
}

/// fio's own message, from the first line that has its name in front.
fn told(said: &str) -> Option<ParseError> {
    let message = said.lines().find_map(|line| line.strip_prefix("fio: "))?;
    Some(ParseError::Failed { tool: "fio", message: clip(message) })
}
