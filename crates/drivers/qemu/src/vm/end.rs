//! Why a machine is silent, or has ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use virtmark_host::cgroup::MachineCgroup;
use virtmark_host::process::describe_exit;
use virtmark_hypervisor::Error;
use virtmark_model::Accelerator;

use super::{EXIT_GRACE, Vm};
use crate::console::Console;
use crate::failure::Death;
use crate::qmp::QmpError;

impl Vm {
    /// Why the guest has not answered: QEMU ended, the guest panicked, or neither.
    pub(super) fn why_silent(&self, timeout: Duration) -> Error {
        self.why_dead().unwrap_or_else(|| Error::GuestSilent {
            machine: self.name.clone(),
            timeout,
            console: self.console.tail(),
        })
    }

    /// Why the guest will never answer again, if that is so: QEMU ended, or the guest panicked.
    pub(super) fn why_dead(&self) -> Option<Error> {
        let observed = self.console.observed();
        (observed.panicked || observed.closed || !self.runs()).then(|| self.exit_error())
    }

    /// As [`why_dead`](Self::why_dead), for a machine whose agent is gone: its other connections may close a moment
    /// later.
    pub(crate) fn why_dying(&self) -> Option<Error> {
        self.console.wait_closed(Instant::now() + EXIT_GRACE);
        self.why_dead()
    }

    /// An error of a request, or the reason of a machine that is dying.
    pub(crate) fn why_dying_of(&self, error: Error) -> Error {
        match error {
            Error::AgentLost { .. } | Error::Timeout { .. } => self.why_dying().unwrap_or(error),
            other => other,
        }
    }

    /// An error of the link, with the machine's own reason where it has one.
    pub(super) fn explained(&self, error: Error, timeout: Duration) -> Error {
        match error {
            Error::AgentLost { .. } | Error::GuestSilent { .. } => self.why_silent(timeout),
            other => other,
        }
    }

    /// The error for a process that ended by itself, or whose guest panicked.
    pub(crate) fn exit_error(&self) -> Error {
        // What explains the end is printed around the line that names it.
        self.console.wait_closed(Instant::now() + EXIT_GRACE);
        if self.console.observed().panicked {
            return Error::GuestPanic { machine: self.name.clone(), console: self.console.tail() };
        }
        let status = self.wait_exit(EXIT_GRACE).map(describe_exit);
        let status = status.unwrap_or_else(|| "it closed its connections".into());
        let Self { accelerator, kernel, name, memory_bytes, cgroup, console, directory, .. } = self;
        death(*accelerator, kernel, (name, *memory_bytes), cgroup.as_ref(), console, directory, status)
    }

    pub(super) fn qmp_error(&self, error: &QmpError) -> Error {
        match error {
            QmpError::Closed => self.exit_error(),
            other => control_error(&self.name, other),
        }
    }
}

/// The error for a QEMU process that runs and does not do as it is told.
pub(super) fn control_error(machine: &str, error: &QmpError) -> Error {
    let kind = match error {
        QmpError::Silent { .. } => std::io::ErrorKind::TimedOut,
        _ => std::io::ErrorKind::Other,
    };
    Error::io(format!("control the VMM of {machine}"))(std::io::Error::new(kind, error.to_string()))
}

/// The error for a QEMU process that ended although it should run.
pub(super) fn death(
    accelerator: Accelerator,
    kernel: &Path,
    (machine, memory_bytes): (&str, u64),
    cgroup: Option<&MachineCgroup>,
    console: &Console,
    directory: &Path,
    status: String,
) -> Error {
    let over_limit = cgroup.filter(|cgroup| cgroup.oom_kills().is_some_and(|kills| kills > 0));
    Death {
        accelerator: accelerator.to_string(),
        console: console.tail(),
        directory,
        kernel,
        machine,
        memory_bytes,
        memory_limit_bytes: over_limit.map(|cgroup| cgroup.limits().memory_bytes),
        status,
        stderr: fs::read_to_string(directory.join("stderr")).unwrap_or_default(),
    }
    .classify()
}
