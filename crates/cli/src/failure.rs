//! How an error is told, and which exit code it has.

use std::io::{self, Write};

use virtmark_archive::Error as ArchiveError;
use virtmark_driver_endpoint::MappingError;
use virtmark_fleet::auth::AuthError;
use virtmark_fleet::bench::BenchFileError;
use virtmark_fleet::local::LocalError;
use virtmark_fleet::map::MapError;
use virtmark_fleet::provider::SetUpError;
use virtmark_host::rundir::RunDirError;
use virtmark_hypervisor::Error as HypervisorError;
use virtmark_image::ImageError;
use virtmark_lab::Error as LabError;
use virtmark_payload::{PackError, SkeletonError, UnpackError};
use virtmark_recorder::Error as RecordError;
use virtmark_recorder::export::remote_write::PushError;
use virtmark_sandbox::http::ServeError;
use virtmark_scenarios::compare::CompareError;
use virtmark_scenarios::sweep::Error as SweepError;
use virtmark_timeseries::{Error as StoreError, QueryError};

use crate::exit::Exit;

/// An error of the command line itself, with its exit.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Options that do not make sense together.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

/// Writes an error and its causes on one line of standard error.
pub(crate) fn tell(error: &anyhow::Error) {
    // Nobody is left who could be told.
    let _ = writeln!(io::stderr(), "virtmark: {}", chain(error));
}

/// The message with those of its causes that say something new.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The exit of the first cause that has one.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(known).unwrap_or(Exit::Unexpected)
}

fn known(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if let Some(error) = cause.downcast_ref::<HypervisorError>() {
        return Some(of_hypervisor(error));
    }
    if let Some(error) = cause.downcast_ref::<LabError>() {
        return of_lab(error);
    }
    if let Some(error) = cause.downcast_ref::<ArchiveError>() {
        return of_archive(error);
    }
    if let Some(error) = cause.downcast_ref::<ImageError>() {
        return of_image(error);
    }
    if let Some(error) = cause.downcast_ref::<RunDirError>() {
        return of_run_dir(error);
    }
    if let Some(RecordError::Store(error)) = cause.downcast_ref::<RecordError>() {
        return of_store(error);
    }
    if let Some(error) = cause.downcast_ref::<PushError>() {
        return of_push(error);
    }
    if let Some(ServeError::TokenMissing { .. }) = cause.downcast_ref::<ServeError>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<SweepError>() {
        return of_sweep(error);
    }
    if let Some(error) = cause.downcast_ref::<CompareError>() {
        return of_compare(error);
    }
    if cause.downcast_ref::<MappingError>().is_some() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return of_store(error);
    }
    if let Some(error) = cause.downcast_ref::<QueryError>() {
        return Some(of_query(error));
    }
    if let Some(error) = cause.downcast_ref::<LocalError>() {
        return of_local(error);
    }
    if let Some(AuthError::Invalid { .. }) = cause.downcast_ref() {
        return Some(Exit::Usage);
    }
    if let Some(MapError::Empty { .. } | MapError::Part { .. }) = cause.downcast_ref() {
        return Some(Exit::Usage);
    }
    if let Some(BenchFileError::Invalid { .. }) = cause.downcast_ref() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<SetUpError>() {
        return of_set_up(error);
    }
    if let Some(error) = cause.downcast_ref::<PackError>() {
        return of_pack(error);
    }
    if let Some(SkeletonError::Exists { .. } | SkeletonError::Name { .. }) = cause.downcast_ref() {
        return Some(Exit::Usage);
    }
    cause.downcast_ref::<io::Error>().and_then(of_io)
}

fn of_archive(error: &ArchiveError) -> Option<Exit> {
    match error {
        ArchiveError::AmbiguousRun { .. }
        | ArchiveError::Missing { .. }
        | ArchiveError::NoRuns { .. }
        | ArchiveError::UnknownRun { .. } => Some(Exit::UnknownName),
        ArchiveError::Damaged { .. }
        | ArchiveError::NewerVersion { .. }
        | ArchiveError::NotAnArchive { .. } => Some(Exit::ArchiveUnusable),
        ArchiveError::DiskFull { .. } => Some(Exit::DiskFull),
        ArchiveError::Locked { .. } => Some(Exit::ArchiveLocked),
        ArchiveError::PermissionDenied { .. } => Some(Exit::PermissionDenied),
        // What has no code of its own may still have a cause that does.
        _ => None,
    }
}

fn of_hypervisor(error: &HypervisorError) -> Exit {
    let exit = Exit::of_class(error.class());
    if exit == Exit::NothingSucceeded { Exit::Unexpected } else { exit }
}

fn of_lab(error: &LabError) -> Option<Exit> {
    match error {
        LabError::Hypervisor(error) => Some(of_hypervisor(error)),
        LabError::Image(error) => of_image(error),
        LabError::Lost { .. } => Some(Exit::AgentLost),
        LabError::NoKvm { .. } => Some(Exit::AcceleratorUnavailable),
        LabError::NoSvm { .. } => Some(Exit::Unsupported),
        LabError::NoRoom { what, .. } if what == "memory" => Some(Exit::OutOfMemory),
        LabError::NoRoom { .. } => Some(Exit::DiskFull),
        LabError::RunDir(error) => of_run_dir(error),
        _ => None,
    }
}

fn of_local(error: &LocalError) -> Option<Exit> {
    match error {
        LocalError::MissingTools { .. } => Some(Exit::Unsupported),
        LocalError::Parameter { .. }
        | LocalError::Refused { .. }
        | LocalError::Unpack(UnpackError::Payload(_)) => Some(Exit::Usage),
        // What has no code of its own may still have a cause that does.
        _ => None,
    }
}

fn of_set_up(error: &SetUpError) -> Option<Exit> {
    match error {
        SetUpError::Interrupted => Some(Exit::Signaled(2)),
        SetUpError::Machine { source, .. } => Some(of_hypervisor(source)),
        SetUpError::Map { .. } => None,
        SetUpError::NotReady { .. } => Some(Exit::NotReady),
    }
}

fn of_pack(error: &PackError) -> Option<Exit> {
    match error {
        PackError::Kind { .. } | PackError::OutputInside { .. } | PackError::Refused { .. } => {
            Some(Exit::Usage)
        }
        _ => None,
    }
}

fn of_image(error: &ImageError) -> Option<Exit> {
    match error {
        ImageError::Ambiguous { .. } | ImageError::NotFound { .. } => Some(Exit::UnknownName),
        ImageError::Busybox { .. } | ImageError::Damaged { .. } => Some(Exit::ImageDamaged),
        ImageError::KernelDamaged { .. }
        | ImageError::ModuleCycle { .. }
        | ImageError::ModuleFormat { .. }
        | ImageError::ModuleMissing { .. }
        | ImageError::ModuleRelease { .. }
        | ImageError::NoHostKernel { .. }
        | ImageError::NoKernel { .. }
        | ImageError::NotAKernel { .. } => Some(Exit::KernelInvalid),
        ImageError::Tool { .. } => Some(Exit::Unsupported),
        _ => None,
    }
}

fn of_run_dir(error: &RunDirError) -> Option<Exit> {
    match error {
        RunDirError::NoSpace { .. } => Some(Exit::DiskFull),
        RunDirError::TooLong { .. } => Some(Exit::PathTooLong),
        RunDirError::Unsafe { .. } => Some(Exit::PermissionDenied),
        _ => None,
    }
}

fn of_compare(error: &CompareError) -> Option<Exit> {
    match error {
        CompareError::Different { .. }
        | CompareError::NothingInCommon { .. }
        | CompareError::Scenarios { .. } => Some(Exit::NotComparable),
        CompareError::UnknownMetric { .. } => Some(Exit::UnknownName),
        _ => None,
    }
}

fn of_sweep(error: &SweepError) -> Option<Exit> {
    match error {
        SweepError::Different { .. } | SweepError::Unusable { .. } => Some(Exit::Usage),
        SweepError::Library { .. } | SweepError::NotElf { .. } | SweepError::Redis { .. } => {
            Some(Exit::Unsupported)
        }
        // A file has a cause that tells.
        _ => None,
    }
}

fn of_store(error: &StoreError) -> Option<Exit> {
    match error {
        StoreError::Damaged { .. } | StoreError::NewerVersion { .. } | StoreError::NotAStore { .. } => {
            Some(Exit::StoreUnusable)
        }
        StoreError::InUse { .. } => Some(Exit::StoreBusy),
        _ => None,
    }
}

fn of_push(error: &PushError) -> Option<Exit> {
    match error {
        PushError::BadUrl { .. } | PushError::CursorOfAnotherStore { .. } => Some(Exit::Usage),
        PushError::GaveUp { .. } | PushError::Refused { .. } => Some(Exit::PushFailed),
        // A store has a cause that tells.
        _ => None,
    }
}

fn of_query(error: &QueryError) -> Exit {
    match error {
        QueryError::UnknownSeries { .. } => Exit::UnknownName,
        QueryError::NoSuchTier { .. } | QueryError::NotACounter { .. } | QueryError::NotKept { .. } => {
            Exit::Usage
        }
    }
}

fn of_io(error: &io::Error) -> Option<Exit> {
    match error.kind() {
        io::ErrorKind::InvalidFilename => Some(Exit::PathTooLong),
        io::ErrorKind::OutOfMemory => Some(Exit::OutOfMemory),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Exit::PermissionDenied),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Exit::DiskFull),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_that_the_message_has_already_is_not_repeated() {
        let source = io::Error::other("no such thing");
        let error = anyhow::Error::new(HypervisorError::Io { action: "read x".into(), source });
        assert_eq!(chain(&error.context("cannot start")), "cannot start: cannot read x: no such thing");
    }

    #[test]
    fn the_exit_is_that_of_the_first_cause_that_has_one() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = Err::<(), _>(full()).context("cannot write the report").unwrap_err();
        assert_eq!(exit_of(&error), Exit::DiskFull);
        let error = anyhow::Error::new(ImageError::Io { action: "write", path: "x".into(), source: full() });
        assert_eq!(exit_of(&error), Exit::DiskFull);
        assert_eq!(exit_of(&anyhow::anyhow!("strange")), Exit::Unexpected);
        let locked = ArchiveError::Locked {
            action: "opening",
            path: "x".into(),
            waited: std::time::Duration::from_secs(5),
            holder: None,
        };
        let error = anyhow::Error::new(virtmark_scenarios::Error::Record(locked));
        assert_eq!(exit_of(&error), Exit::ArchiveLocked);
    }
}
