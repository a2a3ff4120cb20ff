//! What can go wrong with the lab.

use std::io;
use std::path::PathBuf;

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers where a lab would.
    #[error("no lab is running: start one with `virtmark lab up`")]
    Absent,
    /// A lab runs already.
    #[error(
        "a lab is running already (its owner is process {pid}): use it with `virtmark lab exec`, or end it with `virtmark lab down`"
    )]
    Busy {
        /// The process that holds it.
        pid: u32,
    },
    /// A platform failed.
    #[error(transparent)]
    Hypervisor(#[from] virtmark_hypervisor::Error),
    /// An image could not be made.
    #[error(transparent)]
    Image(#[from] virtmark_image::ImageError),
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted, on what.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The lab ended while it was used.
    #[error("the lab ended during {request}: {reason}; what it said last is in {}", log.display())]
    Lost {
        /// What was asked of it.
        request: String,
        /// What was seen.
        reason: String,
        /// The log of its owner.
        log: PathBuf,
    },
    /// The lab runs, and has no KVM.
    #[error("the lab has no working KVM: {reason}")]
    NoKvm {
        /// What was found inside.
        reason: String,
    },
    /// The host has too little memory or disk.
    #[error("the lab needs {wanted_mib} MiB of {what}, and {free_mib} MiB are free: {remedy}")]
    NoRoom {
        /// Memory, or disk at a place.
        what: String,
        /// What it needs.
        wanted_mib: u64,
        /// What there is.
        free_mib: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// The host's QEMU cannot give a machine virtualisation of its own.
    #[error(
        "the QEMU of this host cannot emulate AMD's virtualisation (svm): {reason}; install QEMU 6.0 or newer for x86_64"
    )]
    NoSvm {
        /// What QEMU said.
        reason: String,
    },
    /// The owner of the lab could not do what it was asked.
    #[error("{0}")]
    Refused(String),
    /// A private directory for the run could not be made.
    #[error(transparent)]
    RunDir(#[from] virtmark_host::rundir::RunDirError),
    /// Files were built again after the lab was started.
    #[error("the lab has an older copy of {}: start it again with `virtmark lab down` and `virtmark lab up`", path.display())]
    Stale {
        /// The first of them.
        path: PathBuf,
    },
}

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what was attempted when an operation of the operating system failed.
pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}
