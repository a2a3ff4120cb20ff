//! How machines are recorded, and the store that suits them.

use std::time::Duration;

use virtmark_timeseries::{Schema, StoreOptions};

use crate::Error;

/// The shortest time between two ticks.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Series that [`default_options`] makes room for, for each machine: a machine of one virtual CPU with one disk under KVM
/// has about thirty.
pub const SERIES_PER_MACHINE: u32 = 40;

/// Room for the recorder's own series.
const OWN_SERIES: u32 = 8;

/// With more machines than these a default store has narrow slots.
const MOST_WIDE_MACHINES: u32 = 8;

/// How machines are recorded.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Time between two ticks, which fall on its multiples on the wall clock.
    pub interval: Duration,
    /// Time between two questions to a VMM or a guest, at least; they are asked at ticks.
    pub ask_interval: Duration,
    /// Labels that every machine gets beside its own.
    pub labels: Vec<(String, String)>,
}

impl RecorderOptions {
    /// A tick every `interval`; questions as often, but at most once a second: answering takes the guest's own time.
    pub fn every(interval: Duration) -> Self {
        Self { interval, ask_interval: interval.max(Duration::from_secs(1)), labels: Vec::new() }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.interval < SHORTEST_INTERVAL {
            return Err(Error::Interval { found: self.interval });
        }
        Ok(())
    }
}

impl Default for RecorderOptions {
    /// On whole seconds.
    fn default() -> Self {
        Self::every(Duration::from_secs(1))
    }
}

/// A store for this many machines, counted over its whole life: a machine's series keep their place after it has ended.
/// The tiers are 1 s for 10 min, 10 s for 6 h and 5 min for 7 d. Up to 8 machines get wide slots, more of them narrow
/// ones; [`StoreOptions::size_bytes`] tells what that takes.
///
/// # Errors
/// So many machines that the store would get too large.
pub fn default_options(machines: u32) -> Result<StoreOptions, Error> {
    let series = machines.max(1).saturating_mul(SERIES_PER_MACHINE).saturating_add(OWN_SERIES);
    let schema = Schema::new("machines", series);
    let schema = if machines > MOST_WIDE_MACHINES { schema.narrow() } else { schema };
    Ok(StoreOptions::new(vec![schema]).map_err(virtmark_timeseries::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_store_has_room_for_every_machine_and_stays_small() {
        for (machines, limit_mib) in [(1, 16), (8, 110), (100, 330)] {
            let options = default_options(machines).unwrap();
            assert!(options.schemas()[0].max_series >= machines * SERIES_PER_MACHINE);
            assert!(
                options.size_bytes() < limit_mib << 20,
                "{machines} machines take {}",
                options.size_bytes()
            );
        }
        assert!(default_options(u32::MAX).is_err());
    }

    #[test]
    fn intervals_below_ten_milliseconds_are_refused() {
        let error = RecorderOptions::every(Duration::from_millis(9)).check().unwrap_err();
        assert!(error.to_string().contains("9ms") && error.to_string().contains("10ms"), "{error}");
        assert!(RecorderOptions::every(SHORTEST_INTERVAL).check().is_ok());
    }
}
