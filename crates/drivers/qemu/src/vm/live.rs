//! A guest that runs, from one QEMU process to another, by QEMU's migration.
//!
//! Commands, events and figures are those of QEMU's `qapi/migration.json`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtmark_hypervisor::{Error, Migration, MigrationChannel, MigrationFigures, MigrationMode, Result};
use virtmark_model::FailureClass;

use super::launch::socket_pair;
use super::{QMP_TIMEOUT, Vm};
use crate::qmp::QmpError;

/// How long the control connection is kept from others while a guest is copied.
const TURN: Duration = Duration::from_millis(10);

/// How often a migration is looked at. QEMU counts what the guest writes once a second.
const LOOK: Duration = Duration::from_millis(100);

/// What the descriptor of a migration is called in QEMU.
const FD: &str = "migration";

/// What was seen of a guest that has left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Departure {
    /// When it stood still.
    pub(crate) stopped_at: Option<Instant>,
    /// Whether it began to execute at the destination with a part of its memory here.
    switched: bool,
    /// The most that it wrote in a second while it was copied; none when QEMU never counted anything.
    dirty_rate_bytes: Option<u64>,
}

impl Vm {
    /// Has `destination`, which waits for a guest, get this one. Its guest executes as soon as it is there.
    pub(crate) fn send_to(&mut self, destination: &mut Self, migration: &Migration) -> Result<()> {
        // An earlier state that was kept has changed the limits of this process; the other is fresh.
        let own = destination.command("query-migrate-parameters", json!({}))?;
        let bandwidth = migration.max_bandwidth_bytes.map_or(own["max-bandwidth"].clone(), Value::from);
        let downtime = migration.downtime_limit_ms.map_or(own["downtime-limit"].clone(), Value::from);
        let mut limits = json!({ "max-bandwidth": bandwidth, "downtime-limit": downtime });
        if let Some(bytes) = migration.max_bandwidth_bytes {
            limits["max-postcopy-bandwidth"] = bytes.into();
        }
        for vm in [&mut *destination, &mut *self] {
            let capabilities = capabilities(&[
                ("events", true),
                ("multifd", migration.mode == MigrationMode::Multifd),
                ("postcopy-ram", migration.mode == MigrationMode::PostCopy),
                // The source learns that the guest has arrived, and otherwise keeps it.
                ("return-path", true),
            ]);
            vm.migration_command("migrate-set-capabilities", capabilities)?;
        }
        self.migration_command("migrate-set-parameters", limits)?;
        for name in ["MIGRATION", "MIGRATION_PASS", "STOP"] {
            self.qmp().forget_events(name);
        }
        let uri = match migration.channel {
            MigrationChannel::Unix => {
                let (ours, theirs) = socket_pair("migration")?;
                destination.take_descriptor(theirs.as_fd())?;
                self.take_descriptor(ours.as_fd())?;
                let uri = format!("fd:{FD}");
                destination.migration_command("migrate-incoming", json!({ "uri": uri }))?;
                uri
            }
            MigrationChannel::Tcp => {
                destination.migration_command("migrate-incoming", json!({ "uri": "tcp:127.0.0.1:0" }))?;
                let address = &destination.command("query-migrate", json!({}))?["socket-address"][0];
                match (address["host"].as_str(), address["port"].as_str()) {
                    (Some(host), Some(port)) => format!("tcp:{host}:{port}"),
                    _ => return Err(self.not_migrated("the destination listens nowhere")),
                }
            }
        };
        // It was started to wait: now it goes on by itself when the guest is there, without another word of ours.
        destination.command("cont", json!({}))?;
        self.migration_command("migrate", json!({ "uri": uri })).map(drop)
    }

    /// Watches until the guest has left. When it does not, it executes here again, unless this process has ended or its
    /// memory was in both places, and the error says so.
    pub(crate) fn watch_departure(&mut self, destination: &Self, migration: &Migration) -> Result<Departure> {
        let mut departure = Departure::default();
        match self.watch(destination, migration, &mut departure) {
            Ok(()) => Ok(departure),
            Err(error @ (Error::OutOfMemory { .. } | Error::VmmExited { .. })) if departure.switched => {
                Err(self.lost(error.class(), format!("the source is gone ({error})")))
            }
            Err(error) => Err(error),
        }
    }

    fn watch(&mut self, destination: &Self, migration: &Migration, departure: &mut Departure) -> Result<()> {
        let mut deadline = Instant::now() + migration.timeout;
        let (mut look_at, mut sent) = (Instant::now(), 0);
        let mut given_up: Option<String> = None;
        loop {
            let event = self.qmp().wait_event("migration", TURN, |event| {
                matches!(&*event.name, "MIGRATION" | "MIGRATION_PASS" | "STOP")
            });
            let event = match event {
                Ok(event) => Some(event),
                Err(QmpError::Silent { .. }) => None,
                Err(error) => return Err(self.qmp_error(&error)),
            };
            let status = event.as_ref().and_then(|event| event.data["status"].as_str());
            match (event.as_ref().map(|event| &*event.name), status) {
                (Some("STOP"), _) => departure.stopped_at = departure.stopped_at.or(Some(Instant::now())),
                (Some("MIGRATION_PASS"), _)
                    if migration.mode == MigrationMode::PostCopy
                        && !departure.switched
                        && given_up.is_none() =>
                {
                    let passes = event.and_then(|event| event.data["pass"].as_u64());
                    if passes.is_some_and(|passes| passes > 1) {
                        self.command("migrate-start-postcopy", json!({}))?;
                    }
                }
                (Some("MIGRATION"), Some("completed")) => return Ok(()),
                (Some("MIGRATION"), Some("postcopy-active")) => {
                    departure.switched = true;
                    deadline = Instant::now() + QMP_TIMEOUT;
                }
                (Some("MIGRATION"), Some("failed" | "cancelled" | "postcopy-paused")) => {
                    return Err(self.stay(destination, departure.switched, given_up));
                }
                _ => {}
            }
            let now = Instant::now();
            if now < look_at {
                continue;
            }
            look_at = now + LOOK;
            let answer = self.command("query-migrate", json!({}))?;
            let ram = &answer["ram"];
            let written = pages(ram, "dirty-pages-rate").filter(|bytes| *bytes > 0);
            departure.dirty_rate_bytes = departure.dirty_rate_bytes.max(written);
            let transferred = ram["transferred"].as_u64().unwrap_or(0);
            if departure.switched && transferred > sent {
                // It cannot be called back any more, and arrives as long as anything does.
                deadline = now + QMP_TIMEOUT;
            }
            sent = transferred;
            if now < deadline {
                continue;
            }
            if departure.switched {
                given_up = Some(format!("the destination took nothing more for {QMP_TIMEOUT:?}"));
            }
            if given_up.is_some() {
                return Err(self.stay(destination, departure.switched, given_up));
            }
            given_up = Some(behind(&answer, migration.timeout, departure.dirty_rate_bytes));
            deadline = now + QMP_TIMEOUT;
            self.command("migrate_cancel", json!({}))?;
        }
    }

    /// What QEMU says of a migration that is complete.
    pub(crate) fn migration_figures(&mut self, departure: &Departure) -> Result<MigrationFigures> {
        // QEMU says that it is complete a moment before it has summed up.
        self.wait_finalized()?;
        let answer = self.command("query-migrate", json!({}))?;
        let limits = self.command("query-migrate-parameters", json!({}))?;
        let ram = &answer["ram"];
        Ok(MigrationFigures {
            downtime_ms: answer["downtime"].as_u64(),
            total_ms: answer["total-time"].as_u64(),
            transferred_bytes: ram["transferred"].as_u64(),
            // In millions of bits.
            throughput_bytes: ram["mbps"].as_f64().map(|megabits| megabits * 1e6 / 8.0),
            rounds: ram["dirty-sync-count"].as_u64(),
            dirty_rate_bytes: departure.dirty_rate_bytes,
            normal_pages: ram["normal"].as_u64(),
            zero_pages: ram["duplicate"].as_u64(),
            max_bandwidth_bytes: limits["max-bandwidth"].as_u64(),
            downtime_limit_ms: limits["downtime-limit"].as_u64(),
        })
    }

    /// Has the guest of a migration that failed go on here, unless it has `switched`, and gives the reason.
    fn stay(&mut self, destination: &Self, switched: bool, given_up: Option<String>) -> Error {
        // A destination that hears no more of its guest ends, so what was decided here counts first.
        let (class, reason) = match (given_up, destination.why_dying()) {
            (Some(reason), _) => (FailureClass::Timeout, reason),
            (None, Some(error)) => (error.class(), format!("the destination is gone ({error})")),
            (None, None) => {
                let answer = self.command("query-migrate", json!({})).unwrap_or_default();
                let words = answer["error-desc"].as_str().unwrap_or("QEMU gives no reason");
                (FailureClass::Other, format!("QEMU ended it: {words}"))
            }
        };
        if switched {
            return self.lost(class, reason);
        }
        match self.go_on() {
            Ok(()) => {
                let reason = format!("{reason}; it goes on where it was");
                Error::NotMigrated { machine: self.name.clone(), class, reason }
            }
            Err(error) => error,
        }
    }

    /// Ends what is left here of a guest that executes elsewhere, where it lacks memory that is here, and the other way
    /// round.
    fn lost(&self, class: FailureClass, reason: String) -> Error {
        let reason = format!(
            "{reason}; it had switched to post-copy, its memory was in both places and cannot be put together again: it is \
             lost. Start it anew, from a snapshot where there is one; with --mode pre-copy it stays where it was when its \
             destination is gone"
        );
        match self.kill() {
            Ok(()) => Error::NotMigrated { machine: self.name.clone(), class, reason },
            Err(error) => error,
        }
    }

    fn go_on(&mut self) -> Result<()> {
        self.wait_finalized()?;
        if self.command("query-status", json!({}))?["running"] == true { Ok(()) } else { self.go() }
    }

    fn take_descriptor(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        let taken = self.qmp().hand_over(FD, fd, QMP_TIMEOUT);
        taken.map_err(|error| self.qmp_error(&error))
    }

    /// A command that QEMU refuses where it cannot do what is asked for.
    fn migration_command(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let answer = self.qmp().execute(command, arguments, QMP_TIMEOUT);
        answer.map_err(|error| match error {
            QmpError::Refused { description, .. } => self.not_migrated(&description),
            other => self.qmp_error(&other),
        })
    }

    pub(crate) fn not_migrated(&self, reason: &str) -> Error {
        let reason = format!("{reason}; it goes on where it was");
        Error::NotMigrated { machine: self.name.clone(), class: FailureClass::Unsupported, reason }
    }
}

/// The argument that sets all capabilities which this driver ever sets: those that are not named are off.
pub(super) fn capabilities(wanted: &[(&str, bool)]) -> Value {
    const ALL: [&str; 6] =
        ["events", "multifd", "pause-before-switchover", "postcopy-ram", "return-path", "x-ignore-shared"];
    let state = |name| wanted.iter().any(|(wanted, on)| *wanted == name && *on);
    let all: Vec<Value> =
        ALL.iter().map(|name| json!({ "capability": name, "state": state(*name) })).collect();
    json!({ "capabilities": all })
}

/// Why a guest has not left in time.
fn behind(answer: &Value, timeout: Duration, dirty_rate_bytes: Option<u64>) -> String {
    let ram = &answer["ram"];
    let in_words = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{} MB", bytes / 1_000_000),
        None => "an unknown part".into(),
    };
    let rounds = ram["dirty-sync-count"].as_u64().unwrap_or(0);
    let mut words = format!(
        "{} of {} still differed after {rounds} rounds in {timeout:?}",
        in_words(ram["remaining"].as_u64()),
        in_words(ram["total"].as_u64())
    );
    if let Some(written) = dirty_rate_bytes.or(pages(ram, "dirty-pages-rate")) {
        let sent = ram["mbps"].as_f64().map_or(0.0, |megabits| megabits / 8.0);
        words += &format!(": its guest writes {} MB/s and {sent:.0} MB/s were sent", written / 1_000_000);
    }
    words + "; give it --max-bandwidth, --downtime-limit or --timeout, or use --mode post-copy"
}

/// A number of pages in bytes.
fn pages(ram: &Value, name: &str) -> Option<u64> {
    ram[name].as_u64()?.checked_mul(ram["page-size"].as_u64()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_switched_off() {
        let set = capabilities(&[("events", true), ("multifd", false)]);
        let on: Vec<_> =
            set["capabilities"].as_array().unwrap().iter().filter(|c| c["state"] == true).collect();
        assert_eq!(on, [&json!({ "capability": "events", "state": true })]);
        assert_eq!(set["capabilities"].as_array().unwrap().len(), 6);
    }

    #[test]
    fn a_guest_that_is_ahead_is_told_with_figures() {
        let ram = json!({ "remaining": 410_000_000, "total": 1_100_000_000, "dirty-sync-count": 12,
            "dirty-pages-rate": 50_000, "page-size": 4096, "mbps": 1024.0 });
        let words = behind(&json!({ "ram": ram }), Duration::from_secs(30), None);
        assert!(
            words.starts_with("410 MB of 1100 MB still differed after 12 rounds in 30s: its guest writes 204 MB/s and 128 MB/s were sent; "),
            "{words}"
        );
        // QEMU that says nothing is not made to say anything.
        assert!(
            behind(&json!({}), Duration::from_secs(1), None)
                .starts_with("an unknown part of an unknown part")
        );
    }
}
