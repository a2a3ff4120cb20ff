//! Why a machine has no result.

use std::fmt;
use std::io;

use serde::{Serialize, Serializer};
use virtmark_model::FailureClass;

/// Why a machine has no result: what was attempted, why it failed, and what to do. The machine is known from where this
/// is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// In one line.
    pub message: String,
}

impl Failure {
    /// One of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $class:ident;)+) => {
        /// What kind of failure. The names are stable; `docs/vmrun.md` has the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FailureKind { $($(#[doc = $doc])+ $variant,)+ }

        impl FailureKind {
            /// All kinds, alphabetically.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How the archive counts it.
            pub fn class(self) -> FailureClass {
                match self { $(Self::$variant => FailureClass::$class,)+ }
            }
        }
    };
}

kinds! {
    /// The machine refused every way to log in.
    AuthenticationRefused = "authentication_refused", PermissionDenied;
    /// The payload that arrived is not the one that was sent.
    ChecksumMismatch = "checksum_mismatch", Other;
    /// A disk of the machine is full.
    DiskFull = "disk_full", DiskFull;
    /// The machine's host key is not the one that is on record.
    HostKeyChanged = "host_key_changed", PermissionDenied;
    /// The machine's host key is not on record, and strangers are not accepted.
    HostKeyUnknown = "host_key_unknown", PermissionDenied;
    /// The user stopped the run.
    Interrupted = "interrupted", Interrupted;
    /// A disk of this host is full.
    LocalDiskFull = "local_disk_full", DiskFull;
    /// Something on this host could not be read or written.
    LocalIo = "local_io", Other;
    /// The connection was lost in the middle of something.
    Lost = "lost", AgentLost;
    /// The machine's name could not be resolved.
    NameNotFound = "name_not_found", GuestSilent;
    /// Other machines were not ready, and nothing was run.
    NotRun = "not_run", Other;
    /// None of the others.
    Other = "other", Other;
    /// The payload ended with another exit code than 0.
    PayloadFailed = "payload_failed", Other;
    /// The time limit of a stage passed.
    TimedOut = "timed_out", Timeout;
    /// A program that the stages need is not on the machine.
    ToolMissing = "tool_missing", Unsupported;
    /// The payload could not be unpacked.
    UnpackFailed = "unpack_failed", Other;
    /// The machine did not answer.
    Unreachable = "unreachable", GuestSilent;
}

impl FailureKind {
    /// Of something on this host that could not be read or written.
    pub fn of_local(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => Self::LocalDiskFull,
            _ => Self::LocalIo,
        }
    }

    /// Whether it may go away by itself while a machine starts.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::Lost | Self::NameNotFound | Self::Unreachable)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for FailureKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct() {
        let mut names: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(serde_json::to_value(FailureKind::HostKeyChanged).unwrap(), "host_key_changed");
    }
}
