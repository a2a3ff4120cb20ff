//! Watching a machine from another thread while a scenario drives it.

use std::time::Duration;

use crate::{Machine, Result};

/// Reads what a machine uses, from outside of it. It holds nothing of the machine: a machine can be destroyed while it
/// is watched, and its probe then fails.
///
/// Names and units follow Prometheus. What the platform cannot tell is absent, and is not zero.
pub trait MachineProbe: Send + Sync {
    /// Hands `sink` everything that can be read without waiting for anybody: a few microseconds, in the order of the
    /// last time.
    ///
    /// # Errors
    /// The machine has ended, or is not this one any more. What was handed over before counts.
    fn observe(&self, sink: &mut Sink<'_>) -> Result<()>;

    /// Whether there is something for [`ask`](Self::ask) to tell.
    fn has_questions(&self) -> bool {
        false
    }

    /// Hands `sink` what the VMM must be asked for, or what takes long to find out. Gives up after `patience`, and at
    /// once when the VMM is busy with a command of its machine.
    ///
    /// # Errors
    /// The machine has ended, or its VMM does not answer.
    fn ask(&self, patience: Duration, sink: &mut Sink<'_>) -> Result<()> {
        let _ = (patience, sink);
        Ok(())
    }
}

/// Takes one value: name, labels, kind, value.
pub type Sink<'a> = dyn FnMut(&str, &[(&str, &str)], MetricKind, f64) + 'a;

/// What the values of a metric mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A total that only goes up, or starts again from zero.
    Counter,
    /// A level that goes up and down.
    Gauge,
}

/// Told of machines by whoever drives them, in the driver's thread and in the middle of what is measured: a call takes
/// microseconds, except for the last one.
pub trait Observer: Sync {
    /// The machine was made; nothing of its guest has run, or it was restored and runs.
    fn created(&self, machine: &dyn Machine);

    /// Its guest answers.
    fn running(&self, machine: &dyn Machine);

    /// It is about to be stopped or destroyed. Nothing is measured during this call, which may take a moment.
    fn ending(&self, machine: &dyn Machine);
}
