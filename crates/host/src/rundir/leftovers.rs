//! What runs that were killed have left behind.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::RunDirError;
use super::hunt::{Hunt, KilledProcess, hunt};
use super::locked::{LockedDir, owner_of};
use super::roots::Roots;
use super::{BULK, PROCESSES, log};
use crate::facts::boot_id;

/// A directory of a run that was killed, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The directory.
    pub path: PathBuf,
    /// Pid of the virtmark process that made it.
    pub owner_pid: i32,
    /// Processes of that run that were still there, and have been ended.
    pub processes: Vec<KilledProcess>,
    /// Why something is still there; absent when everything is gone.
    pub problem: Option<String>,
}

/// Ends the processes and removes the directories of runs that were killed, where [`Roots::from_environment`] says.
pub fn clean_leftovers() -> Result<Vec<Leftover>, RunDirError> {
    Ok(Roots::from_environment()?.clean_leftovers())
}

impl Roots {
    /// Ends the processes and removes the directories of runs that were killed.
    ///
    /// Any number of processes may do so at once: each directory is taken by one of them. Directories of live runs
    /// are locked, and left alone.
    pub fn clean_leftovers(&self) -> Vec<Leftover> {
        // Control directories first: they know the processes that still use the bulk data.
        let mut leftovers = clean_base(&self.control);
        for base in &self.bulk {
            leftovers.extend(clean_base(base));
        }
        leftovers
    }
}

fn clean_base(base: &Path) -> Vec<Leftover> {
    // A root that is not there, or not ours to read, holds nothing of ours.
    let claimed = LockedDir::claim_leftovers(base).unwrap_or_default();
    claimed.into_iter().map(|directory| clean(&directory)).collect()
}

fn clean(directory: &LockedDir) -> Leftover {
    let Hunt { killed, survivors } = end_processes(directory);
    let problem =
        if survivors.is_empty() { remove(directory).err() } else { Some(still_running(&survivors)) };
    Leftover {
        path: directory.path().to_owned(),
        owner_pid: owner_of(directory.id()).unwrap_or_default(),
        processes: killed,
        problem,
    }
}

/// Ends every process of the run whose directory this is.
pub(super) fn end_processes(directory: &LockedDir) -> Hunt {
    let record = fs::read_to_string(directory.path().join(PROCESSES)).unwrap_or_default();
    let mut recorded = log::parse(&record);
    // Pids and start times of another boot mean nothing now.
    let boot_id = boot_id().unwrap_or_else(|| "-".into());
    recorded.retain(|process| process.boot_id == boot_id);
    hunt(directory.id(), &recorded)
}

/// The bulk directories on record go first: they may be outside the roots known now.
fn remove(directory: &LockedDir) -> Result<(), String> {
    let record = fs::read_to_string(directory.path().join(BULK)).unwrap_or_default();
    for path in record.lines().map(Path::new) {
        if path.is_absolute() && path.file_name().is_some_and(|name| name == directory.id()) && path.is_dir()
        {
            super::locked::remove_run_directory(path).map_err(|error| still_there(path, &error))?;
        }
    }
    directory.remove().map_err(|error| still_there(directory.path(), &error))
}

fn still_there(path: &Path, error: &std::io::Error) -> String {
    format!("cannot remove {}: {error}; remove it by hand", path.display())
}

fn still_running(survivors: &[i32]) -> String {
    let pids: Vec<_> = survivors.iter().map(i32::to_string).collect();
    format!("cannot end process {}; end it as the user it belongs to, then start again", pids.join(", "))
}
