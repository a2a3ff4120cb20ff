//! What a QEMU process and its guest use, from `/proc` and over QMP.
//!
//! A sample is a few `pread` calls on files that stay open. They belong to the process and not to its number: when it
//! has ended they fail, whoever has the number then.

mod process;
mod questions;

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use serde_json::json;
use virtmark_hypervisor::{Error, MachineProbe, MetricKind, Result, Sink};
use virtmark_model::Accelerator;

use self::process::{Gone, Process};
use self::questions::{BlockStatistics, exits};
use crate::qmp::{Qmp, QmpError};

/// Watches one QEMU process.
pub(crate) struct QemuProbe {
    pub(crate) machine: String,
    pub(crate) memory_bytes: u64,
    pub(crate) has_disks: bool,
    qmp: Arc<Mutex<Qmp>>,
    process: Mutex<Process>,
    questions: Mutex<Questions>,
}

/// What can be asked of this QEMU, and what it said before.
struct Questions {
    /// KVM's own statistics; not under emulation, and not of a QEMU that has no `query-stats` (before 7.1).
    exits: bool,
    blocks: BlockStatistics,
}

impl QemuProbe {
    /// Of the process `pid`, which started `start_ticks` after the host's boot and has `vcpus` threads that run a guest.
    pub(crate) fn new(
        machine: String,
        (pid, start_ticks): (i32, u64),
        vcpus: u32,
        accelerator: Accelerator,
        memory_bytes: u64,
        has_disks: bool,
        qmp: Arc<Mutex<Qmp>>,
    ) -> Self {
        let questions =
            Questions { exits: accelerator == Accelerator::Kvm, blocks: BlockStatistics::default() };
        Self {
            machine,
            memory_bytes,
            has_disks,
            qmp,
            process: Mutex::new(Process::new(pid, start_ticks, vcpus)),
            questions: Mutex::new(questions),
        }
    }

    fn gone(&self, _: Gone) -> Error {
        Error::WrongState { machine: self.machine.clone(), action: "watch", state: "ended".into() }
    }
}

impl MachineProbe for QemuProbe {
    fn observe(&self, sink: &mut Sink<'_>) -> Result<()> {
        // A panic in the middle left a buffer that the next reading overwrites.
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.observe(sink).map_err(|gone| self.gone(gone))?;
        sink("guest_memory_bytes", &[], MetricKind::Gauge, self.memory_bytes as f64);
        Ok(())
    }

    fn has_questions(&self) -> bool {
        self.has_disks || self.questions.lock().unwrap_or_else(PoisonError::into_inner).exits
    }

    fn ask(&self, patience: Duration, sink: &mut Sink<'_>) -> Result<()> {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut qmp = match self.qmp.try_lock() {
            Ok(qmp) => qmp,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The machine's own commands come first, and there is another time.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let failed = |error: QmpError| match error {
            QmpError::Closed => self.gone(Gone),
            other => Error::io(format!("ask QEMU what {} uses", self.machine))(std::io::Error::other(other)),
        };
        if self.has_disks {
            let answer = qmp.execute("query-blockstats", json!({}), patience).map_err(failed)?;
            questions.blocks.tell(&answer, sink);
        }
        if questions.exits {
            match qmp.execute("query-stats", questions::exits_wanted(), patience) {
                Ok(answer) => exits(&answer, sink),
                Err(QmpError::Refused { .. }) => questions.exits = false,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}
