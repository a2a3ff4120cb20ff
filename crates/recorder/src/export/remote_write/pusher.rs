//! From the store to the receiver, with a cursor that remembers how far.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use virtmark_host::signals::Interrupt;
use virtmark_timeseries::{Cursor, CursorFile, Drained, Error, QueryError, Range, Reader, TierChoice};

use super::batch::{Limits, Point, split, times};
use super::client::{Client, Refusal};
use super::error::PushError;
use super::message::{self, Label, labels_of, series_bytes};
use super::options::PushOptions;

/// Pushes a store to one receiver, each sample once.
///
/// Memory is bounded by the size of one request and by the labels of the store.
#[derive(Debug)]
pub struct Pusher {
    client: Client,
    options: PushOptions,
    cursor_path: PathBuf,
    cursor_file: CursorFile,
    cursor: Option<Cursor>,
    /// Of each series of the reader, in its order.
    labels: Vec<Vec<Label>>,
    /// Whether samples after the cursor may have been pushed already.
    doubt: bool,
    totals: PushTotals,
}

/// What was pushed since the pusher was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushTotals {
    /// Samples that the receiver took.
    pub samples: u64,
    /// Samples that it had already, from a push that did not hear so.
    pub already_held: u64,
    /// Requests that were taken.
    pub requests: u64,
    /// Bytes of their bodies, as sent.
    pub bytes: u64,
    /// Tries that failed and were followed by another.
    pub retries: u64,
    /// Slots of time that the store had overwritten before they were pushed.
    pub missed_ticks: u64,
    /// Slots whose value is not kept: narrow ones of a gauge with too many samples to count.
    pub not_kept: u64,
}

impl Pusher {
    /// Reads the cursor that was saved last, if one was; without one, a push begins with the oldest sample.
    ///
    /// An interrupt ends a push between two requests, or between two tries of one.
    ///
    /// # Errors
    ///
    /// The address is none to push to, or the cursor's file cannot be made, read or is damaged.
    pub fn open(options: PushOptions, cursor: &Path, interrupt: &Interrupt) -> Result<Self, PushError> {
        let client = Client::new(&options, interrupt)?;
        let (cursor_file, saved) = CursorFile::open(cursor)?;
        Ok(Self {
            client,
            options,
            cursor_path: cursor.to_owned(),
            cursor_file,
            cursor: saved,
            labels: Vec::new(),
            doubt: true,
            totals: PushTotals::default(),
        })
    }

    /// Pushes what has settled: every slot after the cursor that is older than the newest by the agreed ticks.
    ///
    /// # Errors
    ///
    /// The store cannot be pushed, the receiver refused or did not answer, or there was an interrupt. What arrived
    /// before is remembered; the next push goes on there.
    pub fn push(&mut self, reader: &Reader) -> Result<(), PushError> {
        check_steps(reader)?;
        self.know_series(reader)?;
        let mut cursor = self.cursor.clone().unwrap_or_else(|| reader.cursor(0));
        // A drain goes on to the end of a time: what it gives is then one request, labels permitting.
        let max_slots = self.options.max_samples.saturating_sub(self.labels.len()).saturating_add(1);
        loop {
            let batch = reader.drain(&cursor, self.settle_ticks(), max_slots);
            let batch = batch.map_err(|error| self.draining(error))?;
            let tolerant = self.doubt;
            self.deliver(&batch.slots, tolerant)?;
            if self.cursor.as_ref() != Some(&batch.next) {
                self.cursor_file.save(&batch.next)?;
            }
            self.totals.missed_ticks += batch.missed_ticks;
            self.doubt &= batch.slots.is_empty();
            self.cursor = Some(batch.next.clone());
            cursor = batch.next;
            if !batch.more {
                return Ok(());
            }
        }
    }

    /// Pushes everything, the newest slots included: for a store into which nobody records any more.
    ///
    /// The cursor stays before the newest slots. When recording goes on all the same and changes one of them, the
    /// receiver refuses its new value.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub fn finish(&mut self, reader: &Reader) -> Result<(), PushError> {
        self.push(reader)?;
        let mut newest = self.newest(reader);
        newest.sort_by_key(|slot| slot.time_ns);
        // The same slots may have been pushed by an earlier call.
        self.deliver(&newest, true)
    }

    /// What was pushed since the pusher was opened.
    #[must_use]
    pub fn totals(&self) -> PushTotals {
        self.totals
    }

    fn draining(&self, error: Error) -> PushError {
        match error {
            Error::CursorOfAnotherStore { path: store } => {
                PushError::CursorOfAnotherStore { store, path: self.cursor_path.clone() }
            }
            other => other.into(),
        }
    }

    fn settle_ticks(&self) -> u64 {
        self.options.settle_ticks.max(1)
    }

    /// The slots that have not settled.
    fn newest(&self, reader: &Reader) -> Vec<Drained> {
        let Some(newest_ns) = reader.newest_ns() else { return Vec::new() };
        let slots_of = |series: usize| -> Result<Vec<Drained>, QueryError> {
            let entry = &reader.series()[series];
            let step_ns = reader.options().schemas()[entry.schema()].tiers[0].step_ns;
            let settled = (newest_ns / step_ns + 1).saturating_sub(self.settle_ticks());
            let range = Range::Between { from_ns: settled * step_ns, until_ns: newest_ns + 1 };
            let found = reader.summaries(entry, range, TierChoice::Tier(0))?.summaries;
            Ok(found.into_iter().map(|(time_ns, summary)| Drained { series, time_ns, summary }).collect())
        };
        // A series has a finest tier, so there is no error.
        (0..self.labels.len()).filter_map(|series| slots_of(series).ok()).flatten().collect()
    }

    /// Sends slots, in the order of time. `tolerant`: they may have arrived already.
    fn deliver(&mut self, slots: &[Drained], tolerant: bool) -> Result<(), PushError> {
        let points: Vec<Point> = slots.iter().filter_map(point).collect();
        let limits = Limits { max_samples: self.options.max_samples, max_bytes: self.options.max_bytes };
        let bytes = |series: usize| series_bytes(&self.labels[series]);
        let requests = split(&points, limits, &bytes, message::SAMPLE_BYTES);
        // Until all has arrived, part of it may have.
        self.doubt |= !points.is_empty();
        let mut held = None;
        for request in requests {
            self.deliver_request(request, tolerant, &mut held)?;
        }
        match held {
            Some((points, refusal)) => Err(self.refused(points, refusal)),
            None => {
                self.totals.not_kept += (slots.len() - points.len()) as u64;
                Ok(())
            }
        }
    }

    /// Sends one request, and its times one after the other where part of it has arrived before.
    ///
    /// `held` is the last part that was passed over, while nothing after it was taken.
    fn deliver_request(
        &mut self,
        request: &[Point],
        tolerant: bool,
        held: &mut Option<(usize, Refusal)>,
    ) -> Result<(), PushError> {
        let Err((doubtful, refusal)) = self.send(request)? else {
            *held = None;
            return Ok(());
        };
        if !(tolerant || doubtful) || !refusal.is_of_order() {
            return Err(self.refused(request.len(), refusal));
        }
        for time in times(request) {
            match self.send(time)? {
                Ok(()) => *held = None,
                Err((_, refusal)) if refusal.is_of_order() => {
                    self.totals.already_held += time.len() as u64;
                    *held = Some((time.len(), refusal));
                }
                Err((_, refusal)) => return Err(self.refused(time.len(), refusal)),
            }
        }
        Ok(())
    }

    /// Sends points as one request; the inner error is a refusal, and whether an earlier try may have been taken.
    fn send(&mut self, points: &[Point]) -> Result<Result<(), (bool, Refusal)>, PushError> {
        let body = message::body_of(points, &self.labels);
        let sent = self.client.send(&body, points.len())?;
        self.totals.retries += u64::from(sent.tries - 1);
        if let Some(refusal) = sent.refusal {
            return Ok(Err((sent.doubtful, refusal)));
        }
        self.totals.samples += points.len() as u64;
        self.totals.requests += 1;
        self.totals.bytes += body.len() as u64;
        Ok(Ok(()))
    }

    fn refused(&self, samples: usize, refusal: Refusal) -> PushError {
        let url = self.options.url.clone();
        PushError::Refused { url, samples, status: refusal.status, line: refusal.line }
    }

    /// Takes in the series of the reader, which are never fewer than before.
    fn know_series(&mut self, reader: &Reader) -> Result<(), PushError> {
        if self.labels.len() == reader.series().len() {
            return Ok(());
        }
        let mut known = HashMap::new();
        let mut all = Vec::new();
        for entry in reader.series() {
            let labels = labels_of(entry.key());
            if let Some(other) = known.insert(labels.clone(), entry.key()) {
                return Err(PushError::SameSeries {
                    store: reader.directory().to_owned(),
                    one: other.to_string(),
                    other: entry.key().to_string(),
                });
            }
            all.push(labels);
        }
        self.labels = all;
        Ok(())
    }
}

impl Refusal {
    /// Whether later samples of a series are there: how Prometheus says "out of order sample" and "out of bounds".
    fn is_of_order(&self) -> bool {
        let line = self.line.to_ascii_lowercase();
        self.status == 400 && (line.contains("out of order") || line.contains("out of bounds"))
    }
}

/// The sample that a slot is pushed as.
fn point(slot: &Drained) -> Option<Point> {
    let value = slot.summary.last.or_else(|| slot.summary.average())?;
    // Below the year 2262 in nanoseconds, so the milliseconds fit.
    let time_ms = (slot.time_ns / 1_000_000) as i64;
    Some(Point { series: slot.series, time_ms, value })
}

fn check_steps(reader: &Reader) -> Result<(), PushError> {
    let short = |schema: &&virtmark_timeseries::Schema| schema.tiers[0].step_ns < 1_000_000;
    match reader.options().schemas().iter().find(short) {
        Some(schema) => Err(PushError::StepTooShort {
            store: reader.directory().to_owned(),
            schema: schema.name.clone(),
            step_ns: schema.tiers[0].step_ns,
        }),
        None => Ok(()),
    }
}
