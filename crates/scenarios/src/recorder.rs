//! Gives each sample its place in the run, and keeps it before anything else happens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use virtmark_model::{Outcome, Phase, Sample, Unit};

use crate::trial::Trial;
use crate::{Progress, Result, Sink};

/// The one way from attempts to the sink, for all threads of a scenario.
pub(crate) struct Recorder<'a> {
    started: Instant,
    progress: &'a dyn Progress,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    sink: &'a mut dyn Sink,
    next_seq: u64,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(sink: &'a mut dyn Sink, progress: &'a dyn Progress, started: Instant) -> Self {
        Self { started, progress, state: Mutex::new(State { sink, next_seq: 0 }) }
    }

    /// Keeps one time; it is safe when this returns.
    pub(crate) fn record(&self, metric: &str, trial: Trial) -> Result<()> {
        self.keep(metric, Unit::Ns, trial.started, trial.outcome, trial.phases, trial.labels)
    }

    /// Keeps what stands for a value that cannot be measured here, and why.
    pub(crate) fn skip(&self, metric: &str, unit: Unit, reason: String) -> Result<()> {
        let outcome = Outcome::Skipped { reason };
        self.keep(metric, unit, Instant::now(), outcome, Vec::new(), BTreeMap::new())
    }

    /// Keeps a sample of any unit; it is safe when this returns.
    pub(crate) fn keep(
        &self,
        metric: &str,
        unit: Unit,
        started: Instant,
        outcome: Outcome,
        phases: Vec<Phase>,
        labels: BTreeMap<String, String>,
    ) -> Result<()> {
        let since_start = started.saturating_duration_since(self.started);
        // A panic while the lock was held left at worst a sample that was not counted.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = Sample {
            seq: state.next_seq,
            metric: metric.into(),
            unit,
            started_ns: u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX),
            outcome,
            phases,
            labels,
        };
        state.sink.record(&sample)?;
        state.next_seq += 1;
        self.progress.recorded(&sample);
        Ok(())
    }
}
