//! Between the model's types and the columns of the two tables.

use std::error::Error as StdError;
use std::fmt;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use virtmark_model::{Outcome, Run, RunId, Sample};

use crate::error::Context;
use crate::owner::Owner;
use crate::{Error, Result};

/// Columns of `runs`, in the order [`read_run`] takes them.
pub(crate) const RUN_COLUMNS: &str =
    "id, scenario, started_at, finished_at, status, configuration, environment, owner";
/// Columns of `samples`, in the order [`read_sample`] takes them.
pub(crate) const SAMPLE_COLUMNS: &str =
    "seq, metric, unit, started_ns, outcome, value, failure_class, message, phases, labels";

/// Adds a run; [`Error::RunExists`] when its name is taken.
pub(crate) fn insert_run(
    connection: &Connection,
    context: Context<'_>,
    run: &Run,
    owner: Option<&Owner>,
) -> Result<()> {
    let sql = format!("INSERT INTO runs ({RUN_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    let parameters = params![
        run.id.as_str(),
        run.scenario,
        timestamp_text(run.started_at),
        run.finished_at.map(timestamp_text),
        run.status.as_str(),
        json(&run.configuration),
        json(&run.environment),
        owner.map(json),
    ];
    match connection.execute(&sql, parameters) {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => {
            Err(Error::RunExists { path: context.path.to_owned(), run: run.id.clone() })
        }
        Err(error) => Err(context.explain(error)),
    }
}

/// Adds a sample.
pub(crate) fn insert_sample(
    connection: &Connection,
    context: Context<'_>,
    run: &RunId,
    sample: &Sample,
) -> Result<()> {
    const SQL: &str = "INSERT INTO samples (run_id, seq, metric, unit, started_ns, outcome, value, failure_class, \
                       message, phases, labels) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let invalid =
        |reason: String| Error::Invalid { run: run.clone(), what: format!("sample {}", sample.seq), reason };
    let integer = |name: &str, number: u64| {
        i64::try_from(number).map_err(|_| invalid(format!("{name} {number} exceeds 2^63 - 1")))
    };
    let (outcome, value, class, message) = match &sample.outcome {
        Outcome::Failure { class, message } => ("failure", None, Some(class.as_str()), Some(message)),
        Outcome::Skipped { reason } => ("skipped", None, None, Some(reason)),
        Outcome::Success { value } => ("success", Some(*value), None, None),
    };
    if let Some(value) = value.filter(|value| !value.is_finite()) {
        return Err(invalid(format!("{value} is no measured value; record a failure instead")));
    }
    let parameters = params![
        run.as_str(),
        integer("seq", sample.seq)?,
        sample.metric,
        sample.unit.as_str(),
        integer("started_ns", sample.started_ns)?,
        outcome,
        value,
        class,
        message,
        json(&sample.phases),
        json(&sample.labels),
    ];
    let result = connection.prepare_cached(SQL).and_then(|mut statement| statement.execute(parameters));
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_taken(&error) => Err(invalid("the run has a sample of this seq".into())),
        Err(error) if is_orphan(&error) => Err(invalid("the run was removed from the archive".into())),
        Err(error) => Err(context.explain(error)),
    }
}

/// Reads [`RUN_COLUMNS`].
pub(crate) fn read_run(row: &Row<'_>) -> rusqlite::Result<(Run, Option<Owner>)> {
    let parse_time =
        |index, text: String| text.parse::<Timestamp>().map_err(|error| unreadable(index, error));
    let id: String = row.get(0)?;
    let run = Run {
        id: id.parse().map_err(|error| unreadable(0, error))?,
        scenario: row.get(1)?,
        started_at: parse_time(2, row.get(2)?)?,
        finished_at: row.get::<_, Option<String>>(3)?.map(|text| parse_time(3, text)).transpose()?,
        status: serde_json::from_value(serde_json::Value::String(row.get(4)?))
            .map_err(|error| unreadable(4, error))?,
        configuration: from_json(row, 5)?,
        environment: from_json(row, 6)?,
    };
    let owner = match row.get_ref(7)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(from_json(row, 7)?),
    };
    Ok((run, owner))
}

/// Reads [`SAMPLE_COLUMNS`].
pub(crate) fn read_sample(row: &Row<'_>) -> rusqlite::Result<Sample> {
    let unit: String = row.get(2)?;
    let outcome: String = row.get(4)?;
    Ok(Sample {
        seq: non_negative(row, 0)?,
        metric: row.get(1)?,
        unit: unit.parse().map_err(|error| unreadable(2, error))?,
        started_ns: non_negative(row, 3)?,
        outcome: match outcome.as_str() {
            "failure" => {
                let class: String = row.get(6)?;
                let class = class.parse().map_err(|error| unreadable(6, error))?;
                Outcome::Failure { class, message: row.get(7)? }
            }
            "skipped" => Outcome::Skipped { reason: row.get(7)? },
            "success" => Outcome::Success { value: row.get(5)? },
            other => return Err(unreadable(4, Unknown(other.to_owned()))),
        },
        phases: from_json(row, 8)?,
        labels: from_json(row, 9)?,
    })
}

/// UTC with nine digits of the second, so that the order of texts is the order of times.
pub(crate) fn timestamp_text(timestamp: Timestamp) -> String {
    format!("{timestamp:.9}")
}

/// The model's types as text of a column.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the model's types have string keys and cannot fail to serialize")
}

/// A word that no version of this program has written.
#[derive(Debug)]
struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "unknown outcome {:?}", self.0)
    }
}

impl StdError for Unknown {}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text).map_err(|error| unreadable(index, error))
}

fn non_negative(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(index)?;
    u64::try_from(number).map_err(|error| unreadable(index, error))
}

fn unreadable(index: usize, error: impl StdError + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

fn is_taken(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|failure| failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
}

fn is_orphan(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|failure| failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
