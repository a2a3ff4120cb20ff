//! How the service fails, in words that clients can rely on.

use std::path::PathBuf;

use thiserror::Error;
use virtmark_model::FailureClass;

use crate::api::{InvalidText, SandboxId, SnapshotId};
use crate::gone::Gone;

/// The result of a call of the service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a call of the service failed. [`code`](Self::code) and [`status`](Self::status) are part of the interface;
/// the message says what was attempted, on what, and why it failed, and [`remedy`](Self::remedy) what to do.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// Memory or vCPUs of the service are all promised.
    #[error("no room for a sandbox with {wanted} {resource}: {used} of {limit} are in use")]
    Capacity {
        /// What is short: `vCPUs` or `MiB of memory`.
        resource: &'static str,
        /// What the sandbox needs of it.
        wanted: u64,
        /// What is promised already.
        used: u64,
        /// What there is.
        limit: u64,
    },
    /// The client went away in the middle of its request.
    #[error("the client went away during {request}: {reason}")]
    ClientGone {
        /// What it had asked for.
        request: String,
        /// What was seen.
        reason: String,
    },
    /// A sandbox could not be made.
    #[error("the sandbox could not be started ({class}): {message}")]
    CreateFailed {
        /// The kind of failure.
        class: FailureClass,
        /// What was attempted, on what, why it failed.
        message: String,
    },
    /// The service is about to end.
    #[error("the service takes no work any more: it is shutting down")]
    Draining,
    /// Too many commands run in the sandbox.
    #[error("{sandbox} runs {limit} commands already, which is the limit")]
    ExecLimit {
        /// Where.
        sandbox: SandboxId,
        /// How many may run at once.
        limit: u32,
    },
    /// There is no such file in the guest.
    #[error("there is no such file in {sandbox}: {message}")]
    FileUnknown {
        /// Where.
        sandbox: SandboxId,
        /// What the guest said.
        message: String,
    },
    /// The guest refused or failed what was asked of it.
    #[error("{message}")]
    GuestRefused {
        /// What was asked, and what the guest said.
        message: String,
    },
    /// The guest did not answer in time.
    #[error("{message}")]
    GuestTimeout {
        /// Whether it was silent from its start on, or a request took too long.
        class: FailureClass,
        /// What was asked, and how long was waited.
        message: String,
    },
    /// There is no such image, or clients may not have it.
    #[error("there is no image {image:?} here; there are: {}", known.join(", "))]
    ImageUnknown {
        /// What was asked for.
        image: String,
        /// What can be asked for.
        known: Vec<String>,
    },
    /// The host failed the service.
    #[error("cannot {action}: {reason}")]
    Internal {
        /// What was attempted, on what.
        action: String,
        /// Why it failed.
        reason: String,
    },
    /// The request says something that cannot be.
    #[error("{0}")]
    InvalidRequest(String),
    /// There are as many sandboxes, or snapshots, as there may be.
    #[error("there are {limit} {what} already, which is the limit")]
    LimitReached {
        /// Of what: `sandboxes` or `snapshots`.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// What was sent, or asked for, is larger than it may be.
    #[error("{what} is larger than {limit_bytes} bytes")]
    PayloadTooLarge {
        /// What.
        what: String,
        /// How large it may be.
        limit_bytes: u64,
    },
    /// The sandbox ended while, or because, this was asked of it.
    #[error("{sandbox} has failed ({class}) and is destroyed: {message}")]
    SandboxFailed {
        /// Which.
        sandbox: SandboxId,
        /// The kind of failure.
        class: FailureClass,
        /// What happened.
        message: String,
    },
    /// The sandbox was there, and is not any more.
    #[error("{sandbox} is gone: {reason}")]
    SandboxGone {
        /// Which.
        sandbox: SandboxId,
        /// How it ended.
        reason: Gone,
    },
    /// There is no such sandbox.
    #[error("there is no sandbox {0}")]
    SandboxUnknown(SandboxId),
    /// What is kept of the snapshot is not what was written.
    #[error("the snapshot {snapshot} is damaged: {reason}")]
    SnapshotDamaged {
        /// Which.
        snapshot: SnapshotId,
        /// What was found.
        reason: String,
    },
    /// The platform has changed since the snapshot was taken.
    #[error("the snapshot {snapshot} does not fit this service: {reason}")]
    SnapshotUnfit {
        /// Which.
        snapshot: SnapshotId,
        /// What differs.
        reason: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {0}")]
    SnapshotUnknown(SnapshotId),
    /// The state directory belongs to another user.
    #[error("cannot use the state directory {}: it belongs to the user {owner}, and the service runs as {own}", path.display())]
    StateForeign {
        /// Which.
        path: PathBuf,
        /// Whose it is, as a number.
        owner: u32,
        /// Who runs the service.
        own: u32,
    },
    /// Another service uses the state directory.
    #[error("cannot use the state directory {}: the service with the process id {pid} uses it", path.display())]
    StateInUse {
        /// Which.
        path: PathBuf,
        /// Whose process id is on record there.
        pid: String,
    },
    /// Others than its owner have access to the state directory.
    #[error("cannot use the state directory {}: others than its owner have access to it (mode {mode:03o})", path.display())]
    StateOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A disk of the host is full.
    #[error("{message}")]
    StorageFull {
        /// What could not be written.
        message: String,
    },
    /// The bearer token is missing or wrong.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// The platform cannot do what was asked for.
    #[error("{message}")]
    Unsupported {
        /// What, and why not.
        message: String,
    },
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Capacity { .. } => "capacity",
            Self::ClientGone { .. } => "client_gone",
            Self::CreateFailed { .. } => "create_failed",
            Self::Draining => "draining",
            Self::ExecLimit { .. } => "exec_limit",
            Self::FileUnknown { .. } => "file_unknown",
            Self::GuestRefused { .. } => "guest_refused",
            Self::GuestTimeout { .. } => "guest_timeout",
            Self::ImageUnknown { .. } => "image_unknown",
            Self::Internal { .. } => "internal",
            Self::InvalidRequest(_) => "invalid_request",
            Self::LimitReached { .. } => "limit_reached",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::SandboxFailed { .. } => "sandbox_failed",
            Self::SandboxGone { .. } => "sandbox_gone",
            Self::SandboxUnknown(_) => "sandbox_unknown",
            Self::SnapshotDamaged { .. } => "snapshot_damaged",
            Self::SnapshotUnfit { .. } => "snapshot_unfit",
            Self::SnapshotUnknown(_) => "snapshot_unknown",
            Self::StateForeign { .. } => "state_foreign",
            Self::StateInUse { .. } => "state_in_use",
            Self::StateOpen { .. } => "state_open",
            Self::StorageFull { .. } => "storage_full",
            Self::Unauthorized(_) => "unauthorized",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    /// The HTTP status that fits: 4xx for what the client can change, 5xx for the service's own trouble.
    pub fn status(&self) -> u16 {
        match self {
            Self::ClientGone { .. }
            | Self::ImageUnknown { .. }
            | Self::InvalidRequest(_)
            | Self::Unsupported { .. } => 400,
            Self::Unauthorized(_) => 401,
            Self::FileUnknown { .. } | Self::SandboxUnknown(_) | Self::SnapshotUnknown(_) => 404,
            Self::SandboxFailed { .. } | Self::SnapshotDamaged { .. } | Self::SnapshotUnfit { .. } => 409,
            Self::SandboxGone { .. } => 410,
            Self::PayloadTooLarge { .. } => 413,
            Self::GuestRefused { .. } => 422,
            Self::ExecLimit { .. } | Self::LimitReached { .. } => 429,
            // The host's memory may be had by others for the moment.
            Self::CreateFailed { class: FailureClass::OutOfMemory, .. } => 503,
            Self::CreateFailed { .. }
            | Self::Internal { .. }
            | Self::StateForeign { .. }
            | Self::StateInUse { .. }
            | Self::StateOpen { .. } => 500,
            Self::Capacity { .. } | Self::Draining => 503,
            Self::GuestTimeout { .. } => 504,
            Self::StorageFull { .. } => 507,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Capacity { .. } => "destroy a sandbox, ask for a smaller one, or try again later",
            Self::ClientGone { .. } => "send the request again, whole",
            Self::CreateFailed { .. } => {
                "try again; if it fails again, the service's operator finds the cause with `virtmark doctor`"
            }
            Self::Draining => "try again when the service is back, or use another one",
            Self::ExecLimit { .. } => "wait for a command to end, or use another sandbox",
            Self::FileUnknown { .. } => "see what is there with the command `ls`",
            Self::GuestRefused { .. } => "change what the message names",
            Self::GuestTimeout { .. } => "try again; destroy the sandbox if its guest hangs",
            Self::ImageUnknown { .. } => "use one of these, or leave `image` out",
            Self::Internal { .. } => "the service's operator sees to what the message names",
            Self::InvalidRequest(_) => "correct the request; GET /openapi.json describes it",
            Self::LimitReached { .. } => {
                "destroy a sandbox or delete a snapshot, whichever there are too many of, or try again later"
            }
            Self::PayloadTooLarge { .. } => "send or ask for less at once",
            Self::SandboxFailed { .. } | Self::SandboxGone { .. } => "create another sandbox",
            Self::SandboxUnknown(_) => "see GET /sandboxes for those that there are",
            Self::SnapshotDamaged { .. } => "delete it, and take a new snapshot",
            Self::SnapshotUnfit { .. } => {
                "take a new snapshot, or ask the service's operator for what it was taken with"
            }
            Self::SnapshotUnknown(_) => "see GET /snapshot/list for those that there are",
            Self::StateForeign { .. } => {
                "run the service as its owner, or use another directory with --state"
            }
            Self::StateInUse { .. } => "end the other service, or use another directory with --state",
            Self::StateOpen { .. } => "chmod 700 it, or use another directory with --state",
            Self::StorageFull { .. } => {
                "delete snapshots; the service's operator frees space in its state directory"
            }
            Self::Unauthorized(_) => "send the header `Authorization: Bearer TOKEN` with the service's token",
            Self::Unsupported { .. } => "leave out what the message names",
        }
    }

    /// After how many seconds another try makes sense; `None` where waiting alone does not help.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Capacity { .. }
            | Self::CreateFailed { class: FailureClass::OutOfMemory, .. }
            | Self::ExecLimit { .. }
            | Self::LimitReached { .. } => Some(1),
            Self::Draining => Some(10),
            _ => None,
        }
    }

    /// The class of the failure of a machine; `None` for the others.
    pub fn class(&self) -> Option<FailureClass> {
        match self {
            Self::CreateFailed { class, .. }
            | Self::GuestTimeout { class, .. }
            | Self::SandboxFailed { class, .. }
            | Self::SandboxGone { reason: Gone::Failed { class, .. }, .. } => Some(*class),
            Self::StorageFull { .. } => Some(FailureClass::DiskFull),
            Self::Unsupported { .. } => Some(FailureClass::Unsupported),
            _ => None,
        }
    }

    pub(crate) fn internal(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { message: format!("cannot {action}: {error}") }
            }
            _ => Self::Internal { action, reason: error.to_string() },
        }
    }

    /// A machine that could not be made, started or restored.
    pub(crate) fn of_create(error: &virtmark_hypervisor::Error) -> Self {
        let (class, message) = (error.class(), error.to_string());
        match class {
            FailureClass::DiskFull => Self::StorageFull { message },
            FailureClass::GuestSilent | FailureClass::Timeout => Self::GuestTimeout { class, message },
            FailureClass::Unsupported => Self::Unsupported { message },
            class => Self::CreateFailed { class, message },
        }
    }
}

impl From<InvalidText> for Error {
    fn from(invalid: InvalidText) -> Self {
        Self::InvalidRequest(invalid.to_string())
    }
}
