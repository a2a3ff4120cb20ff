//! Reading an archive: which runs there are, one of them, its samples.

use std::fmt;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use virtmark_model::{Run, RunId, RunStatus, Sample};

use crate::owner::{Liveness, Owner};
use crate::row::{RUN_COLUMNS, SAMPLE_COLUMNS, read_run, read_sample, timestamp_text};
use crate::{Archive, Error, Result, selector};

/// Which runs to list; all of them by default.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only runs of this scenario.
    pub scenario: Option<String>,
    /// Only runs that started at or after this moment.
    pub since: Option<Timestamp>,
    /// At most this many.
    pub limit: Option<usize>,
}

/// A run as the archive has it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    /// The run as it was recorded.
    pub run: Run,
    /// How it stands now, with the fate of its process considered.
    pub state: RunState,
    /// Its samples, counted.
    pub samples: SampleCounts,
}

/// How a run stands: its recorded status, and for one that never ended, what became of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Everything that was asked for was attempted.
    Complete,
    /// An error ended it early.
    Failed,
    /// The user ended it early.
    Interrupted,
    /// Its process is gone without having ended it; what was recorded until then is there.
    Killed,
    /// Its process is alive.
    Running,
    /// It has not ended, and its process cannot be seen from here: another host, another container, an import.
    Unknown,
}

impl RunState {
    /// The name used in listings and exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Killed => "killed",
            Self::Running => "running",
            Self::Unknown => "unknown",
        }
    }

    fn new(status: RunStatus, owner: Option<&Owner>, observer: Option<&Owner>) -> Self {
        match status {
            RunStatus::Complete => Self::Complete,
            RunStatus::Failed => Self::Failed,
            RunStatus::Interrupted => Self::Interrupted,
            RunStatus::Running => match owner.map(|owner| owner.liveness(observer)) {
                Some(Liveness::Alive) => Self::Running,
                Some(Liveness::Dead) => Self::Killed,
                Some(Liveness::Unseen) | None => Self::Unknown,
            },
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// How many samples a run has, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleCounts {
    /// Measured.
    pub successes: u64,
    /// Failed.
    pub failures: u64,
    /// Not attempted.
    pub skips: u64,
}

impl SampleCounts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.successes + self.failures + self.skips
    }
}

impl Archive {
    /// The runs that `filter` lets through, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Locked`], [`Error::Sqlite`].
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<StoredRun>> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE (?1 IS NULL OR scenario = ?1) AND (?2 IS NULL OR started_at >= ?2)
             ORDER BY started_at DESC, id DESC LIMIT ?3"
        );
        let limit = filter.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let parameters = params![filter.scenario, filter.since.map(timestamp_text), limit];
        let observer = Owner::this_process();
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map(parameters, |row| self.stored_run(row, observer.as_ref()))?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.context("listing runs").explain(error))
    }

    /// The run that `selector` names: a whole id, the start of one, or `latest`.
    ///
    /// # Errors
    ///
    /// [`Error::AmbiguousRun`] when several start so, [`Error::UnknownRun`] when none does, [`Error::NoRuns`] for
    /// `latest` of none; [`Error::Damaged`], [`Error::Locked`], [`Error::Sqlite`].
    pub fn run(&self, selector: &str) -> Result<StoredRun> {
        self.run_by_id(&selector::resolve(self, selector)?)
    }

    pub(crate) fn run_by_id(&self, id: &str) -> Result<StoredRun> {
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE id = ?1");
        let observer = Owner::this_process();
        self.connection
            .query_row(&sql, [id], |row| self.stored_run(row, observer.as_ref()))
            .optional()
            .map_err(|error| self.context("reading a run").explain(error))?
            .ok_or_else(|| Error::UnknownRun { selector: id.to_owned(), near: Vec::new() })
    }

    /// All samples of a run, by `seq`; none for a run that is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Locked`], [`Error::Sqlite`].
    pub fn samples(&self, run: &RunId) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        self.for_each_sample(run, |sample| {
            samples.push(sample);
            Ok(())
        })?;
        Ok(samples)
    }

    /// Gives all samples of a run to `visit`, by `seq`, without holding more than one; an error of `visit` ends it.
    ///
    /// # Errors
    ///
    /// Those of `visit`, and those of [`samples`](Self::samples).
    pub fn for_each_sample(&self, run: &RunId, mut visit: impl FnMut(Sample) -> Result<()>) -> Result<()> {
        let context = self.context("reading samples");
        let explain = |error| context.explain(error);
        let sql = format!("SELECT {SAMPLE_COLUMNS} FROM samples WHERE run_id = ?1 ORDER BY seq");
        let mut statement = self.connection.prepare_cached(&sql).map_err(explain)?;
        let mut rows = statement.query([run.as_str()]).map_err(explain)?;
        while let Some(row) = rows.next().map_err(explain)? {
            visit(read_sample(row).map_err(explain)?)?;
        }
        Ok(())
    }

    /// Removes a run with its samples. The space serves later runs; the file does not shrink.
    ///
    /// # Errors
    ///
    /// [`Error::RunInProgress`] while its process lives, [`Error::UnknownRun`] when there is none;
    /// [`Error::Damaged`], [`Error::DiskFull`], [`Error::Locked`], [`Error::PermissionDenied`], [`Error::Sqlite`].
    pub fn remove(&self, run: &RunId) -> Result<()> {
        let context = self.context("removing a run");
        let explain = |error| context.explain(error);
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE id = ?1");
        let found = self.connection.query_row(&sql, [run.as_str()], read_run).optional().map_err(explain)?;
        if let Some((Run { status: RunStatus::Running, .. }, Some(owner))) = &found
            && owner.liveness(Owner::this_process().as_ref()) == Liveness::Alive
        {
            return Err(Error::RunInProgress { run: run.clone(), pid: owner.pid });
        }
        // Samples go with their run.
        let removed =
            self.connection.execute("DELETE FROM runs WHERE id = ?1", [run.as_str()]).map_err(explain)?;
        if removed == 0 {
            return Err(Error::UnknownRun { selector: run.to_string(), near: Vec::new() });
        }
        Ok(())
    }

    fn stored_run(&self, row: &Row<'_>, observer: Option<&Owner>) -> rusqlite::Result<StoredRun> {
        let (run, owner) = read_run(row)?;
        let state = RunState::new(run.status, owner.as_ref(), observer);
        let samples = self.count_samples(&run.id)?;
        Ok(StoredRun { run, state, samples })
    }

    fn count_samples(&self, run: &RunId) -> rusqlite::Result<SampleCounts> {
        const SQL: &str = "SELECT count(*) FILTER (WHERE outcome = 'success'), \
                           count(*) FILTER (WHERE outcome = 'failure'), \
                           count(*) FILTER (WHERE outcome = 'skipped') FROM samples WHERE run_id = ?1";
        self.connection.prepare_cached(SQL)?.query_row([run.as_str()], |row| {
            // A count is never negative.
            let count = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
            Ok(SampleCounts { successes: count(0)?, failures: count(1)?, skips: count(2)? })
        })
    }
}
