//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use crate::key::{KeyError, SeriesKey};
use crate::options::OptionsError;
use crate::summary::{Function, Kind};

/// An error of a store or of one of its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A store is to be created where one is.
    #[error("cannot create a store in {path}: there is one already; open it, or choose another directory")]
    AlreadyExists {
        /// Its directory.
        path: PathBuf,
    },
    /// No space for the name and labels of one more series.
    #[error(
        "cannot register {series} in {path}: its name and labels need {needed} bytes and {free} are left; \
         create the store with more catalog bytes"
    )]
    CatalogFull {
        /// Directory of the store.
        path: PathBuf,
        /// The series, shortened.
        series: String,
        /// Bytes its entry takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A cursor was saved for another store.
    #[error("the cursor {path} belongs to another store; remove it to start from the oldest sample")]
    CursorOfAnotherStore {
        /// The cursor's file.
        path: PathBuf,
    },
    /// A file's contents are not what was written.
    #[error("{path} is damaged: {what}; restore the store from a copy, or remove it and create a new one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The store was removed or replaced while it was in use.
    #[error(
        "the store {path} was deleted or replaced while in use: what is recorded goes to files nobody can open; \
         create a store and open it anew"
    )]
    Deleted {
        /// Where it was.
        path: PathBuf,
    },
    /// Another process, or another writer in this one, has the store.
    #[error(
        "cannot write to {path}: process {pid} is recording into it; stop that one, or open the store to read only"
    )]
    InUse {
        /// Directory of the store.
        path: PathBuf,
        /// The other's process id, or `unknown`.
        pid: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}{}", advice(source))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A name or label cannot be.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The series is registered as the other kind.
    #[error("cannot register {series} as a {wanted}: it is registered as a {held}")]
    KindDiffers {
        /// The series, shortened.
        series: String,
        /// What was asked for.
        wanted: Kind,
        /// What it is.
        held: Kind,
    },
    /// All lanes have a recorder.
    #[error("all {lanes} lanes of {path} have a recorder; drop one, or create the store with more lanes")]
    LanesTaken {
        /// Directory of the store.
        path: PathBuf,
        /// How many there are.
        lanes: u32,
    },
    /// Written by a later version of this format.
    #[error(
        "{path} has format version {found}, and this program reads up to {supported}; use a newer program"
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest known.
        supported: u32,
    },
    /// No schema's matcher takes the series.
    #[error("no schema of {path} takes the series {series}; create the store with a schema that matches it")]
    NoSchema {
        /// Directory of the store.
        path: PathBuf,
        /// The series, shortened.
        series: String,
    },
    /// The directory has no store in it.
    #[error(
        "there is no store in {path}: it has no file named header; name the directory of a store, or create one"
    )]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// Options that cannot be.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The store exists and was created with other options.
    #[error(
        "the store {path} exists with other schemas or limits; open it as it is, or choose another directory"
    )]
    OptionsDiffer {
        /// Directory of the store.
        path: PathBuf,
    },
    /// The schema has all the series it can have.
    #[error(
        "cannot register {series}: schema {schema:?} has its {max_series} series; create the store with more for it"
    )]
    SchemaFull {
        /// The schema.
        schema: String,
        /// The series, shortened.
        series: String,
        /// The schema's maximum.
        max_series: u32,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// The text of a key, cut where a message would get unreadable.
pub(crate) fn shortened(key: &SeriesKey) -> String {
    let text = key.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; check the permissions of the directory and its files",
        io::ErrorKind::ReadOnlyFilesystem => "; choose a directory on a file system that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space, or create a smaller store"
        }
        _ => "",
    }
}

/// Why a question to a store has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// Rates and increases are for counters.
    #[error("{function} is for counters, and {series} is a gauge; ask for avg, min, max, first or last")]
    NotACounter {
        /// The function asked for.
        function: Function,
        /// The series, shortened.
        series: String,
    },
    /// The tier's slots do not keep what is needed.
    #[error(
        "tier {tier} of {series} has narrow slots, which do not keep the {function} of several samples; ask for {kept}, \
         or create the store with wide slots"
    )]
    NotKept {
        /// The function asked for.
        function: Function,
        /// The tier.
        tier: usize,
        /// The series, shortened.
        series: String,
        /// What it keeps.
        kept: &'static str,
    },
    /// There are fewer tiers.
    #[error("there is no tier {tier}: {series} has {tiers}, counted from 0")]
    NoSuchTier {
        /// The tier asked for.
        tier: usize,
        /// How many there are.
        tiers: usize,
        /// The series, shortened.
        series: String,
    },
    /// No series is selected.
    #[error("no series matches {selector}{}", near_list(near))]
    UnknownSeries {
        /// What was asked for.
        selector: String,
        /// Registered names that are nearly the same, nearest first.
        near: Vec<String>,
    },
}

fn near_list(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; near names: {}", near.join(", ")) }
}

/// Why a time or a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The time is beyond the horizon after the newest one.
    #[error("{ahead_ns} ns after the newest sample, and the horizon is {horizon_ns} ns; is the clock right?")]
    FarFuture {
        /// How far after the newest sample.
        ahead_ns: u64,
        /// How far a time may be ahead.
        horizon_ns: u64,
    },
    /// The handle is from another store.
    #[error("the series belongs to another store")]
    Foreign,
    /// The slot of that time does not live any more.
    #[error("{behind_ns} ns before the newest sample, and the slot of that time does not live any more")]
    Late {
        /// How far before the newest sample.
        behind_ns: u64,
    },
    /// Not a number, or infinite.
    #[error("the value is not a finite number")]
    NotFinite,
}
