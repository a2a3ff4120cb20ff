//! The files of a sweep: each row is on disk before the next run starts.
//!
//! Rows are appended and synced, one write for each line: what was written stays as it was, a follower (`tail -f`) sees
//! each row once, and the cost does not grow with the rows. A last line that stops in the middle
//! is one that a crash cut off; it is dropped when the sweep is resumed. The summary is replaced as a whole (written beside, synced, renamed), so that there
//! is one at any moment, and it is never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use thiserror::Error;

use super::read_error::ReadError;
use super::row::Row;
use super::{csv, jsonl};

/// What could not be done with a file of a sweep.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilesError {
    /// A file or its directory cannot be written.
    #[error("cannot {action} {}; free it, or choose another directory", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The name of a file to resume does not end in `.jsonl`.
    #[error(
        "cannot resume {}: expected the .jsonl or the .csv of a sweep, with the .jsonl of the same name beside it",
        path.display()
    )]
    NotRows {
        /// The file.
        path: PathBuf,
    },
    /// A file to resume cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The open files of a sweep: `sweep_<timestamp>.csv`, `.jsonl` and `_summary.txt` in one directory.
#[derive(Debug)]
pub struct SweepFiles {
    directory: PathBuf,
    stem: String,
    csv: File,
    jsonl: File,
}

impl SweepFiles {
    /// Makes the files of a sweep that starts now, and their directory where there is none. The timestamp is universal
    /// time; a sweep that starts in the same second as another has `_2` behind it.
    ///
    /// # Errors
    /// [`FilesError::Io`] when the directory or a file cannot be made.
    pub fn create(directory: &Path, started_at: Timestamp) -> Result<Self, FilesError> {
        fs::create_dir_all(directory).map_err(failed("make the directory", directory))?;
        let timestamp = started_at.strftime("%Y%m%d_%H%M%S");
        let names = (1..).map(|number: u32| match number {
            1 => format!("sweep_{timestamp}"),
            number => format!("sweep_{timestamp}_{number}"),
        });
        for stem in names {
            // The one that makes this file owns the name.
            let path = directory.join(format!("{stem}.jsonl"));
            let jsonl = match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                opened => opened.map_err(failed("make", &path))?,
            };
            let path = directory.join(format!("{stem}.csv"));
            let csv = with_rows(&path, &[])?;
            sync_directory(directory)?;
            return Ok(Self { directory: directory.into(), stem, csv, jsonl });
        }
        unreachable!("there is no end to the names")
    }

    /// Opens the files of a sweep that ended early, by its `.jsonl` or `.csv`, and gives the rows that it has.
    ///
    /// A line of JSON that was cut off is removed; the CSV is written again from the rows.
    ///
    /// # Errors
    /// [`FilesError::NotRows`] for another name, [`FilesError::Read`] when a row cannot be read, and
    /// [`FilesError::Io`] when the files cannot be written.
    pub fn resume(path: &Path) -> Result<(Self, Vec<Row>), FilesError> {
        let known = path.extension().is_some_and(|extension| extension == "jsonl" || extension == "csv");
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| known);
        let stem = stem.ok_or_else(|| FilesError::NotRows { path: path.into() })?.to_owned();
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let path = directory.join(format!("{stem}.jsonl"));
        let text =
            fs::read_to_string(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let rows = jsonl::parse(&text, &path.display().to_string())?;
        let whole = &text[..jsonl::whole_lines(&text)];
        let jsonl = OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?;
        jsonl.set_len(whole.len() as u64).map_err(failed("shorten", &path))?;
        if !whole.is_empty() && !whole.ends_with('\n') {
            append(&jsonl, b"\n").map_err(failed("write", &path))?;
        }
        let csv = with_rows(&directory.join(format!("{stem}.csv")), &rows)?;
        sync_directory(&directory)?;
        Ok((Self { directory, stem, csv, jsonl }, rows))
    }

    /// Writes a row to both files; it is on disk when this returns.
    ///
    /// # Errors
    /// [`FilesError::Io`] when a file cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<(), FilesError> {
        // The JSON lines first: they are what a sweep is resumed from.
        let mut line = Vec::new();
        jsonl::write_row(&mut line, row).map_err(failed("write", &self.jsonl_path()))?;
        append(&self.jsonl, &line).map_err(failed("write", &self.jsonl_path()))?;
        line.clear();
        csv::write_row(&mut line, row).map_err(failed("write", &self.csv_path()))?;
        append(&self.csv, &line).map_err(failed("write", &self.csv_path()))
    }

    /// Replaces the summary.
    ///
    /// # Errors
    /// [`FilesError::Io`] when it cannot be written; the one before is then still there.
    pub fn write_summary(&self, text: &str) -> Result<(), FilesError> {
        replace(&self.summary_path(), text.as_bytes()).map(drop)?;
        sync_directory(&self.directory)
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name that the files share: `sweep_20260125_120000`.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// The rows as CSV.
    pub fn csv_path(&self) -> PathBuf {
        self.directory.join(format!("{}.csv", self.stem))
    }

    /// The rows as JSON lines.
    pub fn jsonl_path(&self) -> PathBuf {
        self.directory.join(format!("{}.jsonl", self.stem))
    }

    /// The summary.
    pub fn summary_path(&self) -> PathBuf {
        self.directory.join(format!("{}_summary.txt", self.stem))
    }

    /// Where pictures of this sweep go: `plots_20260125_120000`.
    pub fn plots_directory(&self) -> PathBuf {
        let timestamp = self.stem.strip_prefix("sweep_").unwrap_or(&self.stem);
        self.directory.join(format!("plots_{timestamp}"))
    }
}

/// Reads the rows of a file: JSON lines when it is named `.jsonl` or starts with a brace, otherwise CSV.
///
/// # Errors
/// [`ReadError`] with the place of what is wrong.
pub fn read(path: &Path) -> Result<Vec<Row>, ReadError> {
    let failed = |source| ReadError::Io { path: path.into(), source };
    let bytes = fs::read(path).map_err(failed)?;
    let origin = path.display().to_string();
    let text = str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        let problem = "it is not UTF-8 text; expected the .csv or .jsonl of a sweep".into();
        ReadError::Refused { origin: origin.clone(), place: super::Place::line(line), problem }
    })?;
    let json = path.extension().is_some_and(|extension| extension == "jsonl") || text.starts_with('{');
    if json { jsonl::parse(text, &origin) } else { csv::parse(text, &origin) }
}

/// Writes a file beside and renames it, so that a reader sees the old one or the new one. The file is open at its end.
fn replace(path: &Path, bytes: &[u8]) -> Result<File, FilesError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let written = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        Ok(file)
    };
    written().map_err(|error| {
        // What is half written helps nobody.
        let _ = fs::remove_file(&part);
        failed("write", path)(error)
    })
}

fn with_rows(path: &Path, rows: &[Row]) -> Result<File, FilesError> {
    let mut bytes = Vec::new();
    let mut write = || {
        csv::write_header(&mut bytes)?;
        rows.iter().try_for_each(|row| csv::write_row(&mut bytes, row))
    };
    write().map_err(failed("write", path))?;
    replace(path, &bytes)
}

fn append(mut file: &File, line: &[u8]) -> io::Result<()> {
    file.write_all(line)?;
    file.sync_data()
}

/// Makes new names last.
fn sync_directory(directory: &Path) -> Result<(), FilesError> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory).and_then(|open| open.sync_all()).map_err(failed("sync", directory))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilesError {
    let path = path.to_owned();
    move |source| FilesError::Io { action, path, source }
}
