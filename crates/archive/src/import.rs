//! Taking in a run that was exported, as JSON or JSON lines.

use std::io::{BufRead, Read};

use rusqlite::{Transaction, TransactionBehavior};
use serde::Deserialize;
use virtmark_model::{Run, RunId, Sample};

use crate::export::FORMAT_VERSION;
use crate::row::{insert_run, insert_sample};
use crate::{Archive, Error, Result};

/// What an import is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportFormat {
    /// As [`Format::Json`](crate::Format::Json) writes it.
    Json,
    /// As [`Format::Jsonl`](crate::Format::Jsonl) writes it.
    Jsonl,
}

#[derive(Deserialize)]
struct Document {
    format_version: u32,
    run: Run,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Run {
        format_version: u32,
        #[serde(flatten)]
        run: Box<Run>,
    },
    Sample(Sample),
}

impl Archive {
    /// Adds finished runs with all their samples, or nothing. Whoever recorded them is of no concern here: they have no
    /// owner.
    ///
    /// # Errors
    ///
    /// [`Error::RunExists`] when one of them is here already, [`Error::Invalid`] for samples this archive does not take;
    /// [`Error::DiskFull`], [`Error::Locked`], [`Error::PermissionDenied`], [`Error::Sqlite`].
    pub fn add(&mut self, runs: &[(Run, Vec<Sample>)]) -> Result<()> {
        let context = self.options.context(&self.path, "adding runs");
        let explain = |error| context.explain(error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
        for (run, samples) in runs {
            insert_run(&transaction, context, run, None)?;
            samples.iter().try_for_each(|sample| insert_sample(&transaction, context, &run.id, sample))?;
        }
        Transaction::commit(transaction).map_err(explain)
    }

    /// Adds the run that `input` holds, with all its samples or not at all, and gives its id. JSON lines are read one
    /// at a time; a JSON document is held as a whole.
    ///
    /// # Errors
    ///
    /// [`Error::Import`] for anything but a whole export, [`Error::RunExists`] when the run is here already,
    /// [`Error::Invalid`] for samples this archive does not take; [`Error::DiskFull`], [`Error::Locked`],
    /// [`Error::PermissionDenied`], [`Error::Sqlite`].
    pub fn import(&mut self, format: ImportFormat, input: impl BufRead) -> Result<RunId> {
        let context = self.options.context(&self.path, "importing a run");
        let explain = |error| context.explain(error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
        // The process that recorded it is of no concern here: the run has no owner.
        let begin = |run: &Run| insert_run(&transaction, context, run, None);
        let add = |run: &RunId, sample: &Sample| insert_sample(&transaction, context, run, sample);
        let id = match format {
            ImportFormat::Json => import_document(input, begin, add)?,
            ImportFormat::Jsonl => import_lines(input, begin, add)?,
        };
        Transaction::commit(transaction).map_err(explain)?;
        Ok(id)
    }
}

fn import_document(
    input: impl Read,
    begin: impl Fn(&Run) -> Result<()>,
    add: impl Fn(&RunId, &Sample) -> Result<()>,
) -> Result<RunId> {
    let document: Document = serde_json::from_reader(input)
        .map_err(|error| Error::Import { line: error.line(), reason: error.to_string() })?;
    check_version(1, document.format_version)?;
    begin(&document.run)?;
    document.samples.iter().try_for_each(|sample| add(&document.run.id, sample))?;
    Ok(document.run.id)
}

fn import_lines(
    input: impl BufRead,
    begin: impl Fn(&Run) -> Result<()>,
    add: impl Fn(&RunId, &Sample) -> Result<()>,
) -> Result<RunId> {
    let mut id = None;
    for (index, text) in input.lines().enumerate() {
        let line = index + 1;
        let refuse = |reason: String| Error::Import { line, reason };
        let text = text.map_err(|error| refuse(error.to_string()))?;
        match (serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?, &id) {
            (Line::Run { format_version, run }, None) => {
                check_version(line, format_version)?;
                begin(&run)?;
                id = Some(run.id);
            }
            (Line::Sample(sample), Some(id)) => add(id, &sample)?,
            (Line::Run { .. }, Some(_)) => return Err(refuse("a second run".into())),
            (Line::Sample(_), None) => return Err(refuse("a sample before its run".into())),
        }
    }
    id.ok_or_else(|| Error::Import { line: 1, reason: "no run in it".into() })
}

fn check_version(line: usize, found: u32) -> Result<()> {
    if found == FORMAT_VERSION {
        return Ok(());
    }
    let reason = format!("format version {found}, and this virtmark reads {FORMAT_VERSION}");
    Err(Error::Import { line, reason })
}
