//! The store as the recording thread uses it: what it does not take is told once and counted.

use std::collections::BTreeSet;

use virtmark_timeseries::{Error, Kind, Rejected, Series, SeriesKey, Writer};

use crate::recorder::Notice;

/// Writes to a store, and tells the user once of each thing that goes wrong.
pub(crate) struct Keeper {
    writer: Writer,
    lane: virtmark_timeseries::Recorder,
    notice: Notice,
    told: BTreeSet<String>,
    pub(crate) samples: u64,
    pub(crate) rejected: u64,
}

impl Keeper {
    pub(crate) fn new(writer: Writer, notice: Notice) -> Result<Self, Error> {
        let lane = writer.recorder()?;
        Ok(Self { writer, lane, notice, told: BTreeSet::new(), samples: 0, rejected: 0 })
    }

    /// Bytes that the store takes, now and ever.
    pub(crate) fn bytes(&self) -> u64 {
        self.writer.options().size_bytes()
    }

    /// Finds or makes places for series; `None` for those that the store has none for.
    pub(crate) fn register(&mut self, wanted: &[(SeriesKey, Kind)]) -> Vec<Option<Series>> {
        if let Ok(places) = self.writer.register_all(wanted) {
            return places.into_iter().map(Some).collect();
        }
        // All or none of them: one by one those are taken for which there is room.
        let mut places = Vec::with_capacity(wanted.len());
        for (key, kind) in wanted {
            match self.writer.register(key, *kind) {
                Ok(place) => places.push(Some(place)),
                Err(error) => {
                    let about = match &error {
                        Error::SchemaFull { schema, .. } => format!("schema {schema} is full"),
                        Error::NoSchema { .. } => format!("no schema for {}", key.name()),
                        Error::KindDiffers { .. } => format!("kind of {}", key.name()),
                        other => format!("{:?}", std::mem::discriminant(other)),
                    };
                    self.tell_once(about, &format!("{error}; such series are not recorded from here on"));
                    places.push(None);
                }
            }
        }
        places
    }

    /// Records values at one time. `after_step`: it lies ahead for a reason that is known.
    pub(crate) fn record(&mut self, time_ns: u64, samples: &[(Series, f64)], after_step: bool) {
        let published = if after_step { self.lane.jump_to(time_ns) } else { self.lane.publish(time_ns) };
        let taken = samples.iter().filter(|(series, value)| self.lane.record(*series, *value)).count();
        self.samples += taken as u64;
        let rejected = (samples.len() - taken) as u64;
        self.rejected += rejected;
        if let Err(reason) = published {
            let about = match reason {
                Rejected::FarFuture { .. } => "far future",
                _ => "late",
            };
            self.tell_once(about.into(), &format!("the store does not take samples of now: {reason}"));
        } else if rejected > 0 {
            let message =
                format!("the store did not take {rejected} of {} samples of one time", samples.len());
            self.tell_once("rejected".into(), &message);
        }
    }

    /// Brings the coarser tiers up to date.
    pub(crate) fn consolidate(&mut self) {
        self.writer.consolidate();
    }

    /// Makes what is recorded safe from a power cut.
    pub(crate) fn checkpoint(&mut self) {
        if let Err(error) = self.writer.checkpoint() {
            self.tell_once("checkpoint".into(), &error.to_string());
        }
    }

    pub(crate) fn close(self) -> Result<(), Error> {
        drop(self.lane);
        self.writer.close()
    }

    /// Tells the user of something, the first time that it comes up.
    pub(crate) fn tell_once(&mut self, about: String, message: &str) {
        if self.told.insert(about) {
            (self.notice)(message);
        }
    }

    /// Tells the user of something.
    pub(crate) fn tell(&mut self, message: &str) {
        (self.notice)(message);
    }
}
