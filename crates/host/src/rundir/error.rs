use std::io;
use std::path::PathBuf;

/// Why a run has no directory to work in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunDirError {
    /// A directory or a file in it could not be made or read.
    #[error("cannot {action} {}; set {variable} to a directory of your own that is writable", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Environment variable that chooses another place.
        variable: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A name that is not one plain path component.
    #[error(
        "{name:?} cannot name a directory of a run: use letters, digits, '.', '_' and '-', at most 64, no leading '.'"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// No place has room for bulk data.
    #[error(
        "no room for {bytes} bytes (and 512 MiB to spare) in {places}; free some space, or set VIRTMARK_SCRATCH to a directory that has it"
    )]
    NoSpace {
        /// Bytes asked for.
        bytes: u64,
        /// The places tried, and what each has.
        places: String,
    },
    /// The path leaves too little of the 107 bytes that the address of a Unix socket may have.
    #[error("{} is too long for the sockets in it: at most {limit} bytes; set VIRTMARK_RUN_DIR to a shorter path", path.display())]
    TooLong {
        /// The run directory.
        path: PathBuf,
        /// Bytes its path may have.
        limit: usize,
    },
    /// A directory in a shared place that someone else prepared or can write to.
    #[error("{} is not safe to use: {reason}; remove it, or set {variable} to a directory of your own", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// Environment variable that chooses another place.
        variable: &'static str,
    },
}
