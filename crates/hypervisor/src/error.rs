//! How a platform fails.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use virtmark_host::process::ProcessError;
use virtmark_host::rundir::RunDirError;
use virtmark_model::FailureClass;

use crate::Capability;

/// The result of a platform's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a platform's call failed: what was attempted, on what, why, and what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The accelerator that was asked for does not run guests here.
    #[error("cannot run {machine} under {accelerator}: {reason}; use --accel auto, or see `virtmark doctor`")]
    AcceleratorUnavailable {
        /// The machine or probe.
        machine: String,
        /// The accelerator that was asked for.
        accelerator: String,
        /// What was found.
        reason: String,
    },
    /// The agent stopped answering in the middle of a request.
    #[error("the agent in {machine} stopped answering during {request}: {reason}{}", console_note(console))]
    AgentLost {
        /// The machine.
        machine: String,
        /// What was asked of it.
        request: String,
        /// What was seen.
        reason: String,
        /// The end of the machine's console output.
        console: String,
    },
    /// The agent refused or failed a request.
    #[error("the agent in {machine} could not {request}: {reason}")]
    AgentRefused {
        /// The machine.
        machine: String,
        /// What was asked of it.
        request: String,
        /// What it answered.
        reason: String,
    },
    /// Whoever wanted the command has given it up.
    #[error("{request} in {machine} was given up")]
    Cancelled {
        /// The machine.
        machine: String,
        /// What was asked of it.
        request: String,
    },
    /// A disk of the host is full.
    #[error("cannot write {}: no space left on device; free some space there, or choose another place with {remedy}", path.display())]
    DiskFull {
        /// What was written.
        path: PathBuf,
        /// The option or variable that chooses another place.
        remedy: &'static str,
    },
    /// The guest kernel panicked.
    #[error("the guest kernel of {machine} panicked{}", console_note(console))]
    GuestPanic {
        /// The machine.
        machine: String,
        /// The end of the machine's console output.
        console: String,
    },
    /// The guest did not answer in time.
    #[error(
        "the guest of {machine} did not answer within {timeout:?}; give it longer with --timeout{}",
        console_note(console)
    )]
    GuestSilent {
        /// The machine.
        machine: String,
        /// How long was waited.
        timeout: Duration,
        /// The end of the machine's console output.
        console: String,
    },
    /// The hypervisor is not installed, or is too old.
    #[error("cannot run {program}: {reason}; {remedy}")]
    HypervisorMissing {
        /// The program that was looked for.
        program: String,
        /// What was found.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// An input or output operation of the host failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted, on what.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel or initramfs is missing, or is not one.
    #[error("cannot boot {}: {reason}; rebuild it with `virtmark image build tiny`", path.display())]
    KernelInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A machine was not moved.
    #[error("cannot migrate {machine}: {reason}")]
    NotMigrated {
        /// The machine.
        machine: String,
        /// The class under which it counts.
        class: FailureClass,
        /// What was seen, where the machine is now, and what to do.
        reason: String,
    },
    /// The host has not enough memory for the machine.
    #[error(
        "no memory for {machine}: {wanted_bytes} bytes wanted, {reason}; use a smaller --memory or fewer machines"
    )]
    OutOfMemory {
        /// The machine.
        machine: String,
        /// Guest memory asked for.
        wanted_bytes: u64,
        /// What was found.
        reason: String,
    },
    /// The host refused access to something.
    #[error("permission denied: cannot {action}; {remedy}")]
    PermissionDenied {
        /// What was attempted, on what.
        action: String,
        /// What to do.
        remedy: String,
    },
    /// A service elsewhere failed, and says how.
    #[error("cannot {action}: {reason}")]
    Remote {
        /// The class that it names.
        class: FailureClass,
        /// Whether it refused this attempt only, so that the next one may succeed whatever the class.
        is_passing: bool,
        /// What was attempted, on what.
        action: String,
        /// What it said.
        reason: String,
    },
    /// A request's own time limit passed.
    #[error("{request} in {machine} did not end within {timeout:?}{}", console_note(console))]
    Timeout {
        /// The machine.
        machine: String,
        /// What was asked of it.
        request: String,
        /// Its limit.
        timeout: Duration,
        /// The end of the machine's console output.
        console: String,
    },
    /// The platform lacks a capability.
    #[error("{hypervisor} cannot do {capability}: {reason}")]
    Unsupported {
        /// The platform.
        hypervisor: String,
        /// What it lacks.
        capability: Capability,
        /// Why.
        reason: String,
    },
    /// The VMM process ended by itself.
    #[error("the VMM of {machine} ended by itself ({status}){}", console_note(output))]
    VmmExited {
        /// The machine.
        machine: String,
        /// How it ended.
        status: String,
        /// What it wrote on standard error, and the end of the machine's console output.
        output: String,
    },
    /// A call that makes no sense in the machine's state.
    #[error("cannot {action} {machine}: it is {state}")]
    WrongState {
        /// The machine.
        machine: String,
        /// What was attempted.
        action: &'static str,
        /// The state it is in.
        state: String,
    },
}

impl Error {
    /// The class under which a scenario counts it.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::AcceleratorUnavailable { .. } => FailureClass::AcceleratorUnavailable,
            Self::AgentLost { .. } => FailureClass::AgentLost,
            Self::AgentRefused { .. } | Self::WrongState { .. } => FailureClass::Other,
            Self::Cancelled { .. } => FailureClass::Interrupted,
            Self::DiskFull { .. } => FailureClass::DiskFull,
            Self::GuestPanic { .. } => FailureClass::GuestPanic,
            Self::GuestSilent { .. } => FailureClass::GuestSilent,
            Self::HypervisorMissing { .. } => FailureClass::HypervisorMissing,
            Self::Io { source, .. } => io_class(source),
            Self::KernelInvalid { .. } => FailureClass::KernelInvalid,
            Self::NotMigrated { class, .. } => *class,
            Self::OutOfMemory { .. } => FailureClass::OutOfMemory,
            Self::PermissionDenied { .. } => FailureClass::PermissionDenied,
            Self::Remote { class, .. } => *class,
            Self::Timeout { .. } => FailureClass::Timeout,
            Self::Unsupported { .. } => FailureClass::Unsupported,
            Self::VmmExited { .. } => FailureClass::VmmExited,
        }
    }

    /// Whether it refused one attempt for want of room, and says nothing of the next.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Remote { is_passing: true, .. })
    }

    /// Wraps an input or output error with what was attempted, on what.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

impl From<ProcessError> for Error {
    fn from(error: ProcessError) -> Self {
        let action = attempted(&error.to_string());
        match error {
            ProcessError::Observe { source, .. }
            | ProcessError::Open { source, .. }
            | ProcessError::Spawn { source, .. } => Self::Io { action, source },
            other => Self::Io { action: "start a process".into(), source: io::Error::other(other) },
        }
    }
}

impl From<RunDirError> for Error {
    fn from(error: RunDirError) -> Self {
        let action = attempted(&error.to_string());
        match error {
            RunDirError::Io { source, .. } => Self::Io { action, source },
            other => {
                let full = matches!(other, RunDirError::NoSpace { .. });
                let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                Self::Io { action: "keep a machine's files".into(), source: io::Error::new(kind, other) }
            }
        }
    }
}

/// What an error that says "cannot do something" says, without these words, which [`Error::Io`] says itself.
fn attempted(words: &str) -> String {
    words.strip_prefix("cannot ").unwrap_or(words).into()
}

fn io_class(error: &io::Error) -> FailureClass {
    match error.kind() {
        io::ErrorKind::InvalidFilename => FailureClass::PathTooLong,
        io::ErrorKind::OutOfMemory => FailureClass::OutOfMemory,
        io::ErrorKind::PermissionDenied => FailureClass::PermissionDenied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureClass::DiskFull,
        io::ErrorKind::TimedOut => FailureClass::Timeout,
        _ => FailureClass::Other,
    }
}

/// The end of the console as an indented block; nothing where there was no output.
fn console_note(console: &str) -> String {
    let console = console.trim_end();
    if console.is_empty() {
        return String::new();
    }
    let indented: String = console.lines().map(|line| format!("\n  | {line}")).collect();
    format!("; its last output was:{indented}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_host_keep_their_cause_and_its_class() {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let path = PathBuf::from("/run/m1");
        let variable = "VIRTMARK_RUN_DIR";
        let error = Error::from(RunDirError::Io { action: "create", path, variable, source });
        assert_eq!(error.class(), FailureClass::DiskFull);
        let text = error.to_string();
        assert!(text.starts_with("cannot create /run/m1; set VIRTMARK_RUN_DIR"), "{text}");
        assert!(text.ends_with(": no storage space"), "{text}");

        let source = io::Error::from(io::ErrorKind::OutOfMemory);
        let (name, program) = ("m1".into(), "/bin/qemu".into());
        let error = Error::from(ProcessError::Spawn { name, program, source });
        assert_eq!(error.class(), FailureClass::OutOfMemory);
        assert!(error.to_string().starts_with("cannot start /bin/qemu for m1; "), "{error}");
    }
}
