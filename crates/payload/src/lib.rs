//! Programs packed to be run on many machines: reading, checking, packing, and the results they print.
//!
//! A payload is a gzip-compressed tar with `payload.sh` at its root. `docs/payload.md` is the specification. Archives
//! are streamed: memory does not grow with their size, and what was written by others is never trusted.

mod duration;
mod finding;
mod gunzip;
mod lint;
mod manifest;
pub mod metric;
mod pack;
mod shebang;
mod skeleton;
mod tarball;
mod unpack;

pub use duration::{LONGEST_S, time_of};
pub use finding::{Code, Finding, Severity, Verdict};
pub use gunzip::Limits;
pub use lint::{Entries, Report, lint, lint_file};
pub use manifest::{MANIFEST, MANIFEST_LIMIT_BYTES, Manifest, Parameter, is_name, is_parameter_name};
pub use pack::{PackError, Packed, default_file_name, pack};
pub use skeleton::{SkeletonError, create_skeleton};
pub use unpack::{OutsideRoot, UnpackError, Unpacked, unpack, unpack_file};

/// The specification that this crate follows.
pub const SPECIFICATION: &str = "1.2";
/// Where a payload is unpacked unless said otherwise.
pub const DEFAULT_ROOT: &str = "/opt/benchkit";
/// What is run, at the root of the archive.
pub const ENTRY_POINT: &str = "payload.sh";
/// Environment variable that tells a payload the directory it was unpacked in.
pub const ROOT_VARIABLE: &str = "BENCH_ROOT";
/// Exit code by which a payload says that a program it needs is not on the machine.
pub const TOOL_MISSING: i32 = 127;
/// Where tools are looked for. Payloads run with `PATH` not set, and set this one themselves.
pub const TOOL_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Whether a payload may be unpacked there: an absolute path without `..` and control characters.
pub fn is_root(path: &str) -> bool {
    path.starts_with('/') && !path.contains(char::is_control) && !path.split('/').any(|part| part == "..")
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read: says nothing about the payload.
    #[error("cannot read {}; check that it exists and is readable", file.display())]
    Io {
        /// The file, or what stands for it.
        file: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
