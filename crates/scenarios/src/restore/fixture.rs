//! The snapshot that is restored: a booted guest with a change in it. Nothing of it is timed.

use virtmark_hypervisor::{Command, Error, Hypervisor, MachineSpec, Observer, Snapshot};
use virtmark_model::{FailureClass, Stopwatch};

use super::working_set::WorkingSet;
use super::{RESTORE_TTI, Restore, not_restored};
use crate::destroy::end;
use crate::kept::Kept;
use crate::pace::Launch;
use crate::recorder::Recorder;
use crate::trial::Trial;
use crate::{Ending, Interrupt, Progress};

/// The file with the change, on the guest's memory file system.
const TOKEN_FILE: &str = "/dev/shm/virtmark-restore-token";
/// What it holds.
const TOKEN: &str = "what a restored guest must remember";
/// The name of the fixture's machine.
const NAME: &str = "restore-fixture";

/// Why there is no snapshot; the run ends with it.
pub(super) struct Failed {
    trial: Trial,
    class: FailureClass,
    message: String,
}

impl Restore {
    /// Makes the snapshot; none when the user stopped it.
    pub(super) fn fixture<'k>(
        &self,
        kept: &'k mut Kept<'_>,
        hypervisor: &dyn Hypervisor,
        observer: Option<&dyn Observer>,
        progress: &dyn Progress,
        interrupt: &dyn Interrupt,
        working_set: Option<WorkingSet>,
    ) -> Option<Result<&'k Snapshot, Failed>> {
        let launch = Launch::now(NAME.into());
        let mut watch = launch.watch;
        let result = self.make(kept, hypervisor, observer, progress, interrupt, working_set, &mut watch);
        if interrupt.is_requested() {
            // What fails while machines are being ended is no failure of theirs.
            return None;
        }
        Some(result.map(|snapshot| kept.hold(snapshot)).map_err(|error| Failed {
            class: error.class(),
            message: error.to_string(),
            trial: Trial::failure(watch, launch.labels, "fixture", &error),
        }))
    }

    #[allow(clippy::too_many_arguments, reason = "one call of the scenario's whole context")]
    fn make(
        &self,
        kept: &Kept<'_>,
        hypervisor: &dyn Hypervisor,
        observer: Option<&dyn Observer>,
        progress: &dyn Progress,
        interrupt: &dyn Interrupt,
        working_set: Option<WorkingSet>,
        watch: &mut Stopwatch,
    ) -> Result<Snapshot, Error> {
        let stopped = || Error::Io {
            action: format!("make the snapshot of {NAME}"),
            source: std::io::ErrorKind::Interrupted.into(),
        };
        let go_on = || if interrupt.is_requested() { Err(stopped()) } else { Ok(()) };
        let spec = MachineSpec {
            name: NAME.into(),
            snapshots: true,
            ready_timeout: self.plan.timeout,
            ..self.machine.clone()
        };
        let (mut machine, _) = hypervisor.create(&spec)?;
        if let Some(observer) = observer {
            observer.created(machine.as_ref());
        }
        let result = (|| {
            go_on()?;
            machine.start()?;
            watch.mark("start");
            if let Some(observer) = observer {
                observer.running(machine.as_ref());
            }
            go_on()?;
            self.change(machine.as_ref(), working_set).map_err(|error| machine.explain(error))?;
            watch.mark("change");
            go_on()?;
            let (snapshot, _) = machine.snapshot(kept.directory())?;
            watch.mark("snapshot");
            Ok(snapshot)
        })();
        // A failure is told, and dropping the machine tries once more.
        let _ = end(machine.as_mut(), observer, progress);
        result
    }

    fn change(
        &self,
        machine: &dyn virtmark_hypervisor::Machine,
        working_set: Option<WorkingSet>,
    ) -> Result<(), Error> {
        let guest = machine.guest()?;
        guest.put(&mut TOKEN.as_bytes(), TOKEN.len() as u64, TOKEN_FILE, 0o600)?;
        if let Some(working_set) = working_set.filter(|_| self.plan.working_set_iterations > 0) {
            working_set.write(guest.as_ref())?;
        }
        // The guest sees it itself before it is asked for.
        let mut command = Command::shell(question());
        command.timeout = Some(self.plan.timeout);
        let output = guest.exec(&command)?;
        if remembers(&output.stdout) {
            return Ok(());
        }
        let reason = format!("it answered {:?}", String::from_utf8_lossy(&output.stdout));
        Err(not_restored(machine.name(), "see the change that was made in it", reason))
    }
}

/// The command that a restored guest must answer.
pub(super) fn question() -> String {
    format!("cat {TOKEN_FILE}")
}

/// Whether an answer shows the change.
pub(super) fn remembers(stdout: &[u8]) -> bool {
    stdout == TOKEN.as_bytes()
}

impl Failed {
    /// Keeps it, and ends the run.
    pub(super) fn keep(self, recorder: &Recorder<'_>) -> crate::Result<Ending> {
        recorder.record(RESTORE_TTI, self.trial)?;
        Ok(Ending::Stopped { class: self.class, message: self.message })
    }
}
