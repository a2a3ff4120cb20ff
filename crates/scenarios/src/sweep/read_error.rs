//! Why a file of a sweep cannot be read, with the place.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Why a file of a sweep cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file itself cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something in it is not as it should be.
    #[error("cannot read {origin}, {place}: {problem}")]
    Refused {
        /// The file.
        origin: String,
        /// Where.
        place: Place,
        /// What is wrong there, and what was expected.
        problem: String,
    },
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1: a field of CSV, a byte of JSON; none when the line as a whole is meant.
    pub column: Option<usize>,
    /// The name of the column.
    pub name: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl Place {
    pub(super) fn line(line: usize) -> Self {
        Self { line, column: None, name: None }
    }
}
