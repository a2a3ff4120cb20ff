//! A run written out, in one of four formats; `docs/archive.md` describes each.

mod csv;
mod json;
mod jsonl;
mod markdown;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error as ThisError;
use virtmark_model::{Run, RunId, Sample};

use crate::{Archive, Error, Result, RunState, StoredRun};

/// Version of the JSON and JSON lines formats; a reader refuses a higher one.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// What a run is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A header, then a row for each sample, quoted as RFC 4180 has it.
    Csv,
    /// One object: the run and its samples.
    Json,
    /// An object a line: the run, then each sample.
    Jsonl,
    /// A page to read: environment, configuration, samples.
    Markdown,
}

impl Format {
    /// All formats, alphabetically.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Json, Self::Jsonl, Self::Markdown];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Markdown => "markdown",
        }
    }

    /// A writer of this format. It writes in small pieces: give it a buffered `output`.
    pub fn exporter<'a>(self, output: &'a mut dyn Write) -> Box<dyn Exporter + 'a> {
        match self {
            Self::Csv => Box::new(csv::Csv::new(output)),
            Self::Json => Box::new(json::Json::new(output)),
            Self::Jsonl => Box::new(jsonl::Jsonl::new(output)),
            Self::Markdown => Box::new(markdown::Markdown::new(output)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A name that is no format.
#[derive(Debug, ThisError)]
#[error("unknown export format {0:?}: expected csv, json, jsonl or markdown")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| UnknownFormat(name.into()))
    }
}

/// Writes one run as it is handed over: [`begin`](Self::begin) once, [`sample`](Self::sample) for each sample in
/// the order of `seq`, [`end`](Self::end) once. Nothing is held back but what the output itself buffers.
pub trait Exporter {
    /// What comes before the samples.
    ///
    /// # Errors
    ///
    /// Those of the output.
    fn begin(&mut self, run: &StoredRun) -> io::Result<()>;

    /// One sample.
    ///
    /// # Errors
    ///
    /// Those of the output.
    fn sample(&mut self, sample: &Sample) -> io::Result<()>;

    /// What comes after the samples.
    ///
    /// # Errors
    ///
    /// Those of the output.
    fn end(&mut self) -> io::Result<()>;
}

impl Archive {
    /// Writes a run to `output`, as it is at this moment even while it is being recorded, holding one sample at a
    /// time.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRun`], [`Error::Output`] when `output` fails; [`Error::Damaged`], [`Error::Locked`],
    /// [`Error::Sqlite`].
    pub fn export(&self, run: &RunId, format: Format, output: &mut dyn Write) -> Result<()> {
        let explain_output = |source| Error::Output { run: run.clone(), source };
        // One view for the counts and the samples; it ends, unchanged, when dropped.
        let _view = self
            .connection
            .unchecked_transaction()
            .map_err(|error| self.context("exporting a run").explain(error))?;
        let stored = self.run_by_id(run.as_str())?;
        let mut output = io::BufWriter::new(output);
        {
            let mut exporter = format.exporter(&mut output);
            exporter.begin(&stored).map_err(explain_output)?;
            self.for_each_sample(run, |sample| exporter.sample(&sample).map_err(explain_output))?;
            exporter.end().map_err(explain_output)?;
        }
        output.flush().map_err(explain_output)
    }
}

/// A run in JSON: the model's fields, and how it stands at the time of the export.
#[derive(Serialize)]
struct RunObject<'a> {
    #[serde(flatten)]
    run: &'a Run,
    state: &'static str,
}

impl<'a> RunObject<'a> {
    fn new(stored: &'a StoredRun) -> Self {
        let state: RunState = stored.state;
        Self { run: &stored.run, state: state.as_str() }
    }
}
