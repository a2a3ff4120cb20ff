//! The end of a machine, outside of any measurement.

use virtmark_hypervisor::{Machine, Observer, Result};

use crate::Progress;

/// The end of a machine that an observer may be watching: that hears of it first. A failure is told, and dropping the
/// machine tries once more.
///
/// # Errors
/// Those of the machine, for whoever keeps them.
pub(crate) fn end(
    machine: &mut dyn Machine,
    observer: Option<&dyn Observer>,
    progress: &dyn Progress,
) -> Result<()> {
    if let Some(observer) = observer {
        observer.ending(machine);
    }
    let result = machine.destroy();
    if let Err(error) = &result {
        progress.warn(&format!("cannot destroy {}: {error}", machine.name()));
    }
    result.map(|_| ())
}
