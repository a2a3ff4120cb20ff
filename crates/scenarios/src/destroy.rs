//! The end of a machine, outside of any measurement.

use virtmark_hypervisor::{Machine, Observer};

use crate::Progress;

/// The end of a machine that an observer may be watching: that hears of it first.
pub(crate) fn end(machine: &mut dyn Machine, observer: Option<&dyn Observer>, progress: &dyn Progress) {
    if let Some(observer) = observer {
        observer.ending(machine);
    }
    destroy(machine, progress);
}

/// Destroys a machine; a failure is told, and dropping the machine tries once more.
fn destroy(machine: &mut dyn Machine, progress: &dyn Progress) {
    if let Err(error) = machine.destroy() {
        progress.warn(&format!("cannot destroy {}: {error}", machine.name()));
    }
}
