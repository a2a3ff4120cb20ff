//! The machines that wait, and the way from them to a sandbox.

use std::time::Instant;

use virtmark_hypervisor::{Error as PlatformError, StopMode};
use virtmark_model::Stopwatch;

use super::Core;
use super::create::{Started, new_id, personalize, warm_up};
use crate::admission::Reservation;
use crate::api::Start;
use crate::pool::Warm;
use crate::shape::Shape;
use crate::{Error, Result};

impl Core {
    /// Hands out a machine that waits; gives the slot back where there is none of this shape. One that does not wake
    /// is lost, and the next one tried.
    pub(super) fn start_warm(
        &self,
        shape: &Shape,
        slot: Reservation,
        watch: &mut Stopwatch,
    ) -> Result<Result<Started, Reservation>> {
        let subject = shape.subject(self.hypervisor.facts(), &self.options);
        let Some(mut warm) = self.pool.take(&subject) else { return Ok(Err(slot)) };
        watch.mark("admit");
        loop {
            let _start = self.starting.begin(&warm.id)?;
            match wake(&mut warm, watch) {
                Ok(()) => {
                    let Warm { id, machine, origin, mut reservation, .. } = warm;
                    reservation.join(slot);
                    let origin = Some(origin);
                    return Ok(Ok(Started { start: Start::Warm, id, machine, origin, reservation }));
                }
                Err(error) => self.lose(warm, &error),
            }
            match self.pool.take(&subject) {
                Some(next) => warm = next,
                None => return Ok(Err(slot)),
            }
        }
    }

    /// Keeps the pool filled, one machine at a time and only while no client waits for a sandbox.
    pub(super) fn keep_warm(&self) {
        while self.pool.wait_lack(|| !self.gate.is_creating()) {
            match self.make_warm() {
                Ok(warm) => self.pool.put(warm),
                Err(error) => {
                    if !matches!(error, Error::Capacity { .. }) && !self.starting.is_closed() {
                        self.counters.warm_lost();
                        self.options.notice.tell(&format!("cannot make a warm machine: {error}"));
                    }
                    self.pool.failed();
                }
            }
        }
    }

    /// A machine that died while it waited is no sandbox's failure.
    pub(super) fn lose(&self, warm: Warm, error: &PlatformError) {
        self.counters.warm_lost();
        self.options.notice.tell(&format!("a warm machine is lost: {error}"));
        drop(warm);
    }

    /// Gives up those that have died, and those that were made for what is no longer the default.
    pub(super) fn sift_pool(&self) {
        let Ok(shape) = self.default_shape() else { return };
        let subject = shape.subject(self.hypervisor.facts(), &self.options);
        for mut warm in self.pool.sift(&subject) {
            // The stop of a machine that has ended by itself fails with the reason.
            if let Err(error) = warm.machine.stop(StopMode::Forced) {
                self.lose(warm, &error);
            }
        }
    }

    fn make_warm(&self) -> Result<Warm> {
        let shape = self.default_shape()?;
        let subject = shape.subject(self.hypervisor.facts(), &self.options);
        let reservation = self.admission.reserve(shape.needs())?;
        let id = new_id()?;
        let _start = self.starting.begin(&id)?;
        let (mut machine, origin) = self.start_from_template(&shape, &id, &mut Stopwatch::start())?;
        let mut settle = || -> Result<(), PlatformError> {
            warm_up(&*machine, self.options.ready_timeout)?;
            machine.pause().map(drop).map_err(|error| machine.explain(error))
        };
        settle().map_err(|error| Error::of_create(&error))?;
        Ok(Warm { id, machine, subject, origin, reservation })
    }
}

/// Its clock stood still, and it gets new random numbers: it is made its own once more.
fn wake(warm: &mut Warm, watch: &mut Stopwatch) -> Result<(), PlatformError> {
    let called = Instant::now();
    let timeline = warm.machine.resume().map_err(|error| warm.machine.explain(error))?;
    watch.append(timeline, called);
    personalize(&*warm.machine, &warm.id)?;
    watch.mark("identity");
    Ok(())
}
