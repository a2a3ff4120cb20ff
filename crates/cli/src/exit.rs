//! The exit codes, each with its meaning.

use std::fmt::Write;

use virtmark_host::signals::STOPPED_TWICE_EXIT_CODE;
use virtmark_model::FailureClass;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    AcceleratorUnavailable,
    AgentLost,
    ArchiveLocked,
    ArchiveUnusable,
    /// Of `compare --strict`.
    CannotTell,
    /// Of a command that was run for the user: its own.
    Command(u8),
    DiskFull,
    GuestPanic,
    GuestSilent,
    HypervisorMissing,
    ImageDamaged,
    KernelInvalid,
    /// Of `payload lint` alone, which has codes of its own.
    LintErrors,
    /// Of `payload lint` alone.
    LintWarnings,
    NotReady,
    /// Of `compare`.
    NotComparable,
    NothingSucceeded,
    Ok,
    OutOfMemory,
    PathTooLong,
    PermissionDenied,
    PushFailed,
    /// A signal asked for the end; its number is added to 128.
    Signaled(i32),
    SomeFailed,
    /// Made where the second signal arrives.
    StoppedTwice,
    StoreBusy,
    StoreUnusable,
    Timeout,
    Unexpected,
    UnknownName,
    Unsupported,
    Usage,
    VmmExited,
    /// Of `compare`.
    Worse,
}

/// Code and meaning of every exit, in the order of the codes.
const TABLE: [(Exit, &str); 32] = [
    (Exit::Ok, "everything that was asked for was done"),
    (Exit::Unexpected, "something failed that has no code of its own"),
    (Exit::Usage, "the command line does not make sense"),
    (Exit::SomeFailed, "some iterations failed; all results are kept"),
    (Exit::NothingSucceeded, "no iteration succeeded, for several reasons or one without a code"),
    (Exit::Worse, "a comparison found a metric that is worse"),
    (Exit::CannotTell, "with --strict: a comparison cannot tell of a metric, and none is worse"),
    (Exit::NotComparable, "the runs are results of different things, and are not compared"),
    (Exit::HypervisorMissing, "the hypervisor is not installed, or is too old"),
    (Exit::KernelInvalid, "the kernel is missing, or the file is not a kernel"),
    (Exit::ImageDamaged, "the image is damaged, or what it is made of is"),
    (Exit::OutOfMemory, "not enough memory for the machine"),
    (Exit::DiskFull, "a disk is full"),
    (Exit::PathTooLong, "a path is longer than the system allows"),
    (Exit::GuestPanic, "the guest kernel panicked"),
    (Exit::GuestSilent, "the guest did not answer in time"),
    (Exit::AgentLost, "the guest agent stopped answering in the middle of a request"),
    (Exit::VmmExited, "the VMM ended by itself"),
    (Exit::ArchiveLocked, "another process keeps the archive locked"),
    (Exit::ArchiveUnusable, "the archive is damaged, of a newer version, or another program's"),
    (Exit::AcceleratorUnavailable, "the accelerator asked for does not run guests here"),
    (Exit::PermissionDenied, "permission denied"),
    (Exit::Unsupported, "the platform cannot do what was asked for"),
    // The exit itself is made where the second signal arrives.
    (Exit::StoppedTwice, "ended at once by a second Ctrl-C"),
    (Exit::UnknownName, "no run, image or series has this name, or several do"),
    (Exit::Timeout, "the time limit passed"),
    (Exit::StoreUnusable, "the time-series store is damaged, of a newer version, or not a store"),
    (Exit::PushFailed, "the receiver of a push refused it, or did not answer"),
    (Exit::StoreBusy, "another process records into the time-series store"),
    (Exit::NotReady, "too few machines were ready in time; nothing was run on them"),
    (Exit::Signaled(2), "interrupted (SIGINT); partial results are kept"),
    (Exit::Signaled(15), "terminated (SIGTERM); partial results are kept"),
];

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::LintWarnings | Self::Unexpected => 1,
            Self::LintErrors | Self::Usage => 2,
            Self::SomeFailed => 3,
            Self::NothingSucceeded => 4,
            Self::Worse => 5,
            Self::CannotTell => 6,
            Self::NotComparable => 7,
            Self::HypervisorMissing => 10,
            Self::KernelInvalid => 11,
            Self::ImageDamaged => 12,
            Self::OutOfMemory => 13,
            Self::Command(code) => code,
            Self::DiskFull => 14,
            Self::PathTooLong => 15,
            Self::GuestPanic => 16,
            Self::GuestSilent => 17,
            Self::AgentLost => 18,
            Self::VmmExited => 19,
            Self::ArchiveLocked => 20,
            Self::ArchiveUnusable => 21,
            Self::AcceleratorUnavailable => 22,
            Self::PermissionDenied => 23,
            Self::Unsupported => 24,
            Self::StoppedTwice => STOPPED_TWICE_EXIT_CODE as u8,
            Self::UnknownName => 26,
            Self::Timeout => 27,
            Self::StoreUnusable => 28,
            Self::PushFailed => 29,
            Self::StoreBusy => 30,
            Self::NotReady => 31,
            // Signal numbers are below 65.
            Self::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }

    /// What it means; nothing for exits of one command alone.
    pub(crate) fn meaning(self) -> &'static str {
        TABLE.iter().find(|(exit, _)| *exit == self).map_or("", |(_, meaning)| meaning)
    }

    /// The exit that has this number, of a process that is this program as well.
    pub(crate) fn of_code(code: i32) -> Option<Self> {
        TABLE.iter().map(|(exit, _)| *exit).find(|exit| i32::from(exit.code()) == code)
    }

    /// The exit for a run in which nothing succeeded and everything failed so.
    pub(crate) fn of_class(class: FailureClass) -> Self {
        match class {
            FailureClass::AcceleratorUnavailable => Self::AcceleratorUnavailable,
            FailureClass::AgentLost => Self::AgentLost,
            FailureClass::DiskFull => Self::DiskFull,
            FailureClass::GuestPanic => Self::GuestPanic,
            FailureClass::GuestSilent => Self::GuestSilent,
            FailureClass::HypervisorMissing => Self::HypervisorMissing,
            FailureClass::ImageDamaged => Self::ImageDamaged,
            FailureClass::Interrupted => Self::Signaled(2),
            FailureClass::KernelInvalid => Self::KernelInvalid,
            FailureClass::Other => Self::NothingSucceeded,
            FailureClass::OutOfMemory => Self::OutOfMemory,
            FailureClass::PathTooLong => Self::PathTooLong,
            FailureClass::PermissionDenied => Self::PermissionDenied,
            FailureClass::Timeout => Self::Timeout,
            FailureClass::Unsupported => Self::Unsupported,
            FailureClass::VmmExited => Self::VmmExited,
        }
    }
}

/// The table for `--help` and the man page.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in TABLE {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:>3}  {meaning}", exit.code());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_order() {
        let codes: Vec<u8> = TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert_eq!(
            codes,
            [
                0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
                27, 28, 29, 30, 31, 130, 143
            ]
        );
    }

    #[test]
    fn every_class_has_an_exit_that_is_documented() {
        for class in FailureClass::ALL {
            let exit = Exit::of_class(class);
            assert!(TABLE.iter().any(|(documented, _)| *documented == exit), "{class}");
            assert_ne!(exit, Exit::Ok);
        }
    }
}
