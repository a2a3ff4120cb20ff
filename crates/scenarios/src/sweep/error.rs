//! Why a sweep cannot go on.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::files::FilesError;

/// Why a sweep cannot begin or go on. Failures of what is measured are rows, not errors.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A sweep that is to be gone on with was another one.
    #[error("cannot go on with {}: it was made with {differences}; give the same options, or begin a new sweep", path.display())]
    Different {
        /// The file.
        path: PathBuf,
        /// Which settings differ, and how.
        differences: String,
    },
    /// A file of results cannot be written or gone on with.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A program's library is nowhere to be found.
    #[error("cannot take {} into a machine: nothing here is called {library}; install it", program.display())]
    Library {
        /// What was looked for.
        library: String,
        /// What needs it.
        program: PathBuf,
    },
    /// A file is no program or library of 64 bits.
    #[error("cannot take {} into a machine: it is no 64-bit ELF file", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {what}, {}", path.display())]
    Read {
        /// What it was to be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A sample or the run itself cannot be kept.
    #[error(transparent)]
    Record(#[from] crate::Error),
    /// The Redis for a plan cannot be made ready.
    #[error("cannot make a Redis ready for the plan: {reason}")]
    Redis {
        /// What was attempted, and why it failed.
        reason: String,
    },
    /// A file of a sweep that is to be gone on with has nothing to go on with.
    #[error("cannot go on with {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
}
