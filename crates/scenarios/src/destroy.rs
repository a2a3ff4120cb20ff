//! The end of a machine, outside of any measurement.

use virtmark_hypervisor::Machine;

use crate::Progress;

/// Destroys a machine; a failure is told, and dropping the machine tries once more.
pub(crate) fn destroy(machine: &mut dyn Machine, progress: &dyn Progress) {
    if let Err(error) = machine.destroy() {
        progress.warn(&format!("cannot destroy {}: {error}", machine.name()));
    }
}
