//! Machines that a scenario announces are followed while they live.

use std::sync::PoisonError;

use virtmark_hypervisor::{Machine, Observer};

use crate::{Attachment, Recorder};

impl Observer for Recorder {
    /// A machine that cannot be watched from outside is followed through its guest alone.
    fn created(&self, machine: &dyn Machine) {
        let name = machine.name().to_owned();
        let attachment =
            Attachment { name: name.clone(), labels: Vec::new(), probe: machine.probe().ok(), guest: None };
        // A name that is no label was refused long before by whoever makes machines.
        if let Ok(id) = self.attach(attachment) {
            self.observed.lock().unwrap_or_else(PoisonError::into_inner).insert(name, id);
        }
    }

    fn running(&self, machine: &dyn Machine) {
        let id = self.observed.lock().unwrap_or_else(PoisonError::into_inner).get(machine.name()).copied();
        if let (Some(id), Ok(guest)) = (id, machine.guest()) {
            // Fails only once recording has ended, which its end tells.
            let _ = self.guest_answers(id, guest);
        }
    }

    fn ending(&self, machine: &dyn Machine) {
        let id = self.observed.lock().unwrap_or_else(PoisonError::into_inner).remove(machine.name());
        if let Some(id) = id {
            self.detach(id);
        }
    }
}
