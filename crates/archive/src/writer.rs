//! Recording a run while it is measured.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use virtmark_model::{Environment, Run, RunId, RunStatus, Sample};

use crate::archive::OpenOptions;
use crate::error::Context;
use crate::owner::Owner;
use crate::row::{insert_run, insert_sample, json, timestamp_text};
use crate::{Archive, Error, Result};

/// Takes the samples of one run, each on disk before the next one starts.
///
/// It has a connection of its own: it may move to another thread, and the archive can be read meanwhile. Dropped
/// without [`finish`](Self::finish) it leaves the run as a killed process would: `running`, with all its samples.
#[derive(Debug)]
pub struct RunWriter {
    connection: Connection,
    path: PathBuf,
    /// The file behind the connection.
    file: Option<FileId>,
    options: OpenOptions,
    run: RunId,
    last_seq: Option<u64>,
}

impl Archive {
    /// Adds `run`, owned by this process, with status `running` and no end, whatever `run` says about those.
    ///
    /// # Errors
    ///
    /// [`Error::RunExists`] when the name is taken; otherwise as [`Archive::open`].
    pub fn begin(&self, run: &Run) -> Result<RunWriter> {
        const ACTION: &str = "beginning a run";
        let connection = self.options.connect_for_writing(&self.path, ACTION)?;
        let running = Run { finished_at: None, status: RunStatus::Running, ..run.clone() };
        insert_run(&connection, self.context(ACTION), &running, Owner::this_process().as_ref())?;
        Ok(RunWriter {
            connection,
            path: self.path.clone(),
            file: FileId::of(&self.path),
            options: self.options,
            run: run.id.clone(),
            last_seq: None,
        })
    }
}

impl RunWriter {
    /// The run it writes.
    pub fn run_id(&self) -> &RunId {
        &self.run
    }

    /// Stores one sample. When it returns, the sample survives the end of this process and a power cut; when it
    /// fails, the sample is not stored, those before it are, and it may be called again.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a `seq` not above the last one, for a value that is not finite, for a count beyond
    /// 2^63 − 1, and when the run was removed meanwhile; [`Error::Moved`] when the file was; [`Error::Damaged`],
    /// [`Error::DiskFull`], [`Error::Locked`], [`Error::PermissionDenied`], [`Error::Sqlite`].
    pub fn record(&mut self, sample: &Sample) -> Result<()> {
        if let Some(last_seq) = self.last_seq.filter(|last_seq| sample.seq <= *last_seq) {
            return Err(Error::Invalid {
                run: self.run.clone(),
                what: format!("sample {}", sample.seq),
                reason: format!("it must follow sample {last_seq}"),
            });
        }
        let context = self.context("recording a sample");
        self.expect_in_place(context)?;
        insert_sample(&self.connection, context, &self.run, sample)?;
        self.last_seq = Some(sample.seq);
        Ok(())
    }

    /// Replaces what is known of the surroundings, as soon as more is known.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record), without those of the sample itself.
    pub fn update_environment(&self, environment: &Environment) -> Result<()> {
        let context = self.context("updating the environment of a run");
        self.expect_in_place(context)?;
        let changed = self
            .connection
            .execute(
                "UPDATE runs SET environment = ?2 WHERE id = ?1",
                params![self.run.as_str(), json(environment)],
            )
            .map_err(|error| context.explain(error))?;
        self.expect_row(changed, "the environment")
    }

    /// Ends the run: how, when, and what is known of its surroundings by now.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for [`RunStatus::Running`], which is no end; otherwise as
    /// [`update_environment`](Self::update_environment). The run then stays `running`, with all its samples.
    pub fn finish(self, status: RunStatus, finished_at: Timestamp, environment: &Environment) -> Result<()> {
        if status == RunStatus::Running {
            return Err(Error::Invalid {
                run: self.run,
                what: "the end".into(),
                reason: "`running` is no way to end".into(),
            });
        }
        let context = self.context("ending a run");
        self.expect_in_place(context)?;
        let changed = self
            .connection
            .execute(
                "UPDATE runs SET status = ?2, finished_at = ?3, environment = ?4 WHERE id = ?1",
                params![self.run.as_str(), status.as_str(), timestamp_text(finished_at), json(environment)],
            )
            .map_err(|error| context.explain(error))?;
        self.expect_row(changed, "the end")
    }

    /// In WAL mode SQLite does not notice that its file was deleted, and would lose every later sample without a
    /// word.
    fn expect_in_place(&self, context: Context<'_>) -> Result<()> {
        if FileId::of(&self.path) == self.file {
            return Ok(());
        }
        Err(Error::Moved { action: context.action, path: self.path.clone() })
    }

    fn expect_row(&self, changed: usize, what: &str) -> Result<()> {
        if changed == 1 {
            return Ok(());
        }
        Err(Error::Invalid {
            run: self.run.clone(),
            what: what.into(),
            reason: "the run was removed from the archive".into(),
        })
    }

    fn context(&self, action: &'static str) -> Context<'_> {
        self.options.context(&self.path, action)
    }
}

/// A file, whatever its name.
#[derive(Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}
