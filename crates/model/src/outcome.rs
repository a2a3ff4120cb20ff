//! How one attempt ended: a value, a classified failure, or a skip with its reason.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How one attempt to measure ended. A failure or a skip never carries a value, so that neither can enter a
/// latency figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It failed; counted beside the successes.
    Failure {
        /// What kind of failure.
        class: FailureClass,
        /// What was attempted, on what, and why it failed.
        message: String,
    },
    /// It was not attempted, because the platform cannot do it.
    Skipped {
        /// Why not.
        reason: String,
    },
    /// It was measured.
    Success {
        /// In the unit of its sample.
        value: f64,
    },
}

impl Outcome {
    /// The measured value; `None` for failures and skips.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Success { value } => Some(*value),
            Self::Failure { .. } | Self::Skipped { .. } => None,
        }
    }

    /// The class of the failure; `None` for successes and skips.
    pub fn failure(&self) -> Option<FailureClass> {
        match self {
            Self::Failure { class, .. } => Some(*class),
            Self::Skipped { .. } | Self::Success { .. } => None,
        }
    }
}

/// What kind of failure ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The accelerator that was asked for does not run guests here.
    AcceleratorUnavailable,
    /// The guest agent stopped answering in the middle of a request.
    AgentLost,
    /// A disk of the host is full.
    DiskFull,
    /// The guest kernel panicked.
    GuestPanic,
    /// The guest did not answer in time.
    GuestSilent,
    /// The hypervisor is not installed, or is too old.
    HypervisorMissing,
    /// The image is damaged and could not be rebuilt.
    ImageDamaged,
    /// The user stopped the run.
    Interrupted,
    /// The kernel is missing, or the file is not a kernel.
    KernelInvalid,
    /// The host has not enough memory for the machine.
    OutOfMemory,
    /// None of the others.
    Other,
    /// A path is longer than the system allows.
    PathTooLong,
    /// The host refused access to something.
    PermissionDenied,
    /// The time limit passed.
    Timeout,
    /// The platform lacks a capability that was asked for.
    Unsupported,
    /// The VMM process ended by itself.
    VmmExited,
}

impl FailureClass {
    /// All classes, alphabetically.
    pub const ALL: [Self; 16] = [
        Self::AcceleratorUnavailable,
        Self::AgentLost,
        Self::DiskFull,
        Self::GuestPanic,
        Self::GuestSilent,
        Self::HypervisorMissing,
        Self::ImageDamaged,
        Self::Interrupted,
        Self::KernelInvalid,
        Self::OutOfMemory,
        Self::Other,
        Self::PathTooLong,
        Self::PermissionDenied,
        Self::Timeout,
        Self::Unsupported,
        Self::VmmExited,
    ];

    /// The stable name used in JSON, CSV and the archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcceleratorUnavailable => "accelerator_unavailable",
            Self::AgentLost => "agent_lost",
            Self::DiskFull => "disk_full",
            Self::GuestPanic => "guest_panic",
            Self::GuestSilent => "guest_silent",
            Self::HypervisorMissing => "hypervisor_missing",
            Self::ImageDamaged => "image_damaged",
            Self::Interrupted => "interrupted",
            Self::KernelInvalid => "kernel_invalid",
            Self::OutOfMemory => "out_of_memory",
            Self::Other => "other",
            Self::PathTooLong => "path_too_long",
            Self::PermissionDenied => "permission_denied",
            Self::Timeout => "timeout",
            Self::Unsupported => "unsupported",
            Self::VmmExited => "vmm_exited",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A name that is no failure class.
#[derive(Debug, Error)]
#[error("unknown failure class {0:?}")]
pub struct UnknownFailureClass(pub String);

impl FromStr for FailureClass {
    type Err = UnknownFailureClass;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == name)
            .ok_or_else(|| UnknownFailureClass(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_with_the_serde_form_and_read_back() {
        for class in FailureClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
            assert_eq!(class.as_str().parse::<FailureClass>().unwrap(), class);
        }
        assert!("no such class".parse::<FailureClass>().is_err());
    }

    #[test]
    fn only_success_has_a_value() {
        assert_eq!(Outcome::Success { value: 3.0 }.value(), Some(3.0));
        assert_eq!(Outcome::Skipped { reason: "no snapshots".into() }.value(), None);
        let failure = Outcome::Failure { class: FailureClass::GuestPanic, message: "panic".into() };
        assert_eq!(failure.value(), None);
        assert_eq!(failure.failure(), Some(FailureClass::GuestPanic));
    }
}
