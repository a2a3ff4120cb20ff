//! A machine's state into a file and out of one, by QEMU's migration.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use virtmark_hypervisor::{Error, Result};

use super::live::capabilities;
use super::{QMP_TIMEOUT, Vm};
use crate::qmp::{Event, QmpError};

/// More than any file takes; QEMU's own limit is 128 MiB, which suits a network.
const UNLIMITED_BYTES_PER_SECOND: u64 = 1 << 40;

/// Memory is written while the guest runs until what is left takes no longer than this. QEMU's own 300 ms are more than
/// a small guest's whole memory takes: it would be stopped after the first measurement of the speed, a tenth of a second.
const LIVE_REST_MS: u64 = 20;

/// How long memory is copied while the guest changes it. A guest that is still ahead then is stopped for the rest.
const LIVE_PATIENCE: Duration = Duration::from_secs(3);

/// Where a migration stands when somebody has to act.
const STOPS: [&str; 4] = ["cancelled", "completed", "failed", "pre-switchover"];

impl Vm {
    /// Goes on from a state that was kept, in which memory is unless it is `memory_elsewhere`.
    pub(crate) fn load(&mut self, state: &File, memory_elsewhere: bool) -> Result<()> {
        self.begin("migrate-incoming", state, memory_elsewhere, false)?;
        self.complete("migrate-incoming")
    }

    /// Writes the state of a guest that is stopped, except for its memory, which is in a file.
    pub(crate) fn save_devices(&mut self, state: &File) -> Result<()> {
        self.begin("migrate", state, true, false)?;
        self.complete("migrate")
    }

    /// Writes the memory of a guest that runs, and what it changes meanwhile, until little is left; the guest is stopped
    /// then, or when that takes too long.
    pub(crate) fn save_memory(&mut self, state: &File) -> Result<()> {
        self.begin("migrate", state, false, true)?;
        let deadline = Instant::now() + LIVE_PATIENCE;
        while Instant::now() < deadline {
            let answer = self.command("query-migrate", json!({}))?;
            if answer["status"].as_str().is_some_and(|status| STOPS.contains(&status)) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until all the memory of a guest that is stopped now is written.
    pub(crate) fn wait_memory_saved(&mut self) -> Result<()> {
        let event = self.next_stop()?;
        if event.data["status"] == "pre-switchover" { Ok(()) } else { Err(self.failure("migrate", &event)) }
    }

    /// Writes the rest of the state, after the memory.
    pub(crate) fn save_rest(&mut self) -> Result<()> {
        self.command("migrate-continue", json!({ "state": "pre-switchover" }))?;
        self.complete("migrate")
    }

    /// Ends a migration that has not ended, so that the guest can go on.
    pub(crate) fn give_up_saving(&mut self) {
        // The error that led here is the one that matters.
        let _ = self.command("migrate_cancel", json!({}));
        let _ = self.wait_finalized();
    }

    fn begin(&mut self, command: &str, state: &File, memory_elsewhere: bool, live: bool) -> Result<()> {
        let capabilities = capabilities(&[
            ("x-ignore-shared", memory_elsewhere),
            ("pause-before-switchover", live),
            ("events", true),
        ]);
        self.command("migrate-set-capabilities", capabilities)?;
        let parameters =
            json!({ "max-bandwidth": UNLIMITED_BYTES_PER_SECOND, "downtime-limit": LIVE_REST_MS });
        self.command("migrate-set-parameters", parameters)?;
        // An earlier migration that was given up may have ended since: its end is not that of this one.
        self.qmp().forget_events("MIGRATION");
        self.qmp().hand_over("state", state.as_fd(), QMP_TIMEOUT).map_err(|error| self.qmp_error(&error))?;
        self.command(command, json!({ "uri": "fd:state" })).map(drop)
    }

    fn complete(&mut self, command: &str) -> Result<()> {
        let event = self.next_stop()?;
        if event.data["status"] == "completed" {
            self.wait_finalized()
        } else {
            Err(self.failure(command, &event))
        }
    }

    fn next_stop(&mut self) -> Result<Event> {
        let stopped = self.qmp().wait_event("migration", QMP_TIMEOUT, |event| {
            let status = event.data["status"].as_str();
            event.name == "MIGRATION" && status.is_some_and(|status| STOPS.contains(&status))
        });
        stopped.map_err(|error| self.qmp_error(&error))
    }

    fn failure(&mut self, command: &str, event: &Event) -> Error {
        let reason = self
            .command("query-migrate", json!({}))
            .ok()
            .and_then(|answer| answer["error-desc"].as_str().map(str::to_owned))
            .unwrap_or_else(|| format!("the migration ended as {}", event.data["status"]));
        let full = reason.contains("No space left on device");
        let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        Error::io(format!("{command} the state of {}", self.name))(io::Error::new(kind, reason))
    }

    /// Waits until the guest may go on after a migration, which QEMU says to be completed a moment before.
    pub(super) fn wait_finalized(&mut self) -> Result<()> {
        let deadline = Instant::now() + QMP_TIMEOUT;
        while self.command("query-status", json!({}))?["status"] == "finish-migrate" {
            if Instant::now() >= deadline {
                let timeout = QMP_TIMEOUT;
                return Err(self.qmp_error(&QmpError::Silent { command: "migrate".into(), timeout }));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}
