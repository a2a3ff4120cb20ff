//! The directories of a run: private, removed with it, and found by the next start when it was killed.
//!
//! ```text
//! <control root>/lock                       held while a directory below is made, claimed, removed or looked at
//! <control root>/<pid>-<random>/lock        held for life by the virtmark process that made it, and empty until
//!                                           another one claims it
//!                               processes   started processes: `pid start_ticks boot_id name` a line
//!                               bulk        directories for bulk data that belong to it: a path a line
//!                               cgroups     its cgroups: a path a line
//!                               bridges     its bridges of the network: a name a line
//!                               <machine>/  sockets, logs
//! <bulk root>/<pid>-<random>/lock           the same scheme, for files as large as a guest's memory
//!                            <machine>/
//! ```

mod error;
mod hunt;
mod leftovers;
mod locked;
mod log;
mod roots;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use error::RunDirError;
pub use hunt::{KilledProcess, wait_until_gone};
pub use leftovers::{Leftover, clean_leftovers};
pub use locked::is_live;
pub(crate) use log::ProcessLog;
pub use roots::Roots;

use crate::cgroup::RunCgroups;
use crate::facts::boot_id;
use crate::network::{self, Segment};
use crate::source::Source;
use locked::LockedDir;
use roots::{RUN_DIR_VARIABLE, SCRATCH_VARIABLE, io_error};

const PROCESSES: &str = "processes";
const BULK: &str = "bulk";
const CGROUPS: &str = "cgroups";
const BRIDGES: &str = "bridges";

/// Longest path of a run directory. The address of a Unix socket has room for 107 bytes (unix(7)), which leaves a
/// machine's name and a socket's name 43.
const PATH_LIMIT_BYTES: usize = 64;

/// Directories that exist now, for the moment when they must go at once.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The private directory of one run of virtmark; dropping it ends the run's processes and removes everything.
#[derive(Debug)]
pub struct RunDir {
    roots: Roots,
    control: LockedDir,
    bulk: Mutex<Vec<LockedDir>>,
    cgroups: OnceLock<Result<RunCgroups, String>>,
    /// How many segments were asked for.
    segments: AtomicUsize,
    processes: Arc<File>,
    boot_id: String,
}

impl RunDir {
    /// Makes one where [`Roots::from_environment`] says.
    pub fn create() -> Result<Self, RunDirError> {
        Self::create_in(Roots::from_environment()?)
    }

    /// Makes one under these roots.
    pub fn create_in(roots: Roots) -> Result<Self, RunDirError> {
        roots.prepare_control()?;
        let id = locked::new_id();
        let path = roots.control.join(&id);
        if path.as_os_str().len() > PATH_LIMIT_BYTES {
            return Err(RunDirError::TooLong { path, limit: PATH_LIMIT_BYTES });
        }
        let create_error = |source| io_error("create", &path, RUN_DIR_VARIABLE, source);
        let control = LockedDir::create(&roots.control, &id).map_err(create_error)?;
        remember(control.path());
        let processes = append_to(&path.join(PROCESSES)).map_err(create_error)?;
        // Where the kernel gives no boot id, the start time alone tells processes apart.
        let boot_id = boot_id().unwrap_or_else(|| "-".into());
        let (bulk, cgroups, segments) = (Mutex::default(), OnceLock::new(), AtomicUsize::new(0));
        Ok(Self { roots, control, bulk, cgroups, segments, processes: Arc::new(processes), boot_id })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.control.path()
    }

    /// Names this run among all on this host; the value of [`crate::process::RUN_ID_VARIABLE`] in its processes.
    pub fn id(&self) -> &str {
        self.control.id()
    }

    /// The directory for a machine's sockets and logs, made at the first call.
    pub fn machine_dir(&self, name: &str) -> Result<PathBuf, RunDirError> {
        make_named(self.control.path(), name, RUN_DIR_VARIABLE)
    }

    /// A directory for a machine's large files, in the first place that has room for `bytes` bytes now. Memory if
    /// there is enough of it, else disk. The space is not reserved; two calls may give different directories.
    pub fn bulk_dir(&self, name: &str, bytes: u64) -> Result<PathBuf, RunDirError> {
        let base = self.roots.bulk_base(bytes)?;
        let path = base.join(self.id());
        let mut bulk = self.bulk.lock().unwrap_or_else(PoisonError::into_inner);
        if !bulk.iter().any(|directory| directory.path() == path) {
            let create_error = |source| io_error("create", &path, SCRATCH_VARIABLE, source);
            // On record first: a directory that nobody finds would keep its gigabytes.
            let record = self.control.path().join(BULK);
            append_to(&record)
                .and_then(|mut file| file.write_all(format!("{}\n", path.display()).as_bytes()))
                .map_err(|source| io_error("write", &record, RUN_DIR_VARIABLE, source))?;
            let directory = LockedDir::create(base, self.id()).map_err(create_error)?;
            remember(directory.path());
            bulk.push(directory);
        }
        make_named(&path, name, SCRATCH_VARIABLE)
    }

    /// The cgroups for the machines of this run, made at the first call; otherwise why this process may have none.
    pub fn cgroups(&self) -> Result<&RunCgroups, &str> {
        let make = || {
            let record = self.control.path().join(CGROUPS);
            let mut file = append_to(&record).map_err(|error| format!("{}: {error}", record.display()))?;
            RunCgroups::make(&Source::new(Path::new("/")), self.id(), |path| {
                file.write_all(format!("{}\n", path.display()).as_bytes())
            })
        };
        self.cgroups.get_or_init(make).as_ref().map_err(String::as_str)
    }

    /// Makes an Ethernet segment for machines of this run.
    pub fn segment(&self) -> io::Result<Segment> {
        let number = self.segments.fetch_add(1, Ordering::Relaxed);
        let name = network::bridge_name(self.id(), number);
        let record = self.control.path().join(BRIDGES);
        append_to(&record)?.write_all(format!("{name}\n").as_bytes())?;
        let random = self.id().split_once('-').and_then(|(_, text)| u32::from_str_radix(text, 16).ok());
        Segment::make(&name, random.unwrap_or_default().wrapping_add(number as u32))
    }

    /// Removes a machine's directories, those for large files too. None there is fine.
    pub fn remove_machine(&self, name: &str) -> Result<(), RunDirError> {
        check_name(name)?;
        let bulk = self.bulk.lock().unwrap_or_else(PoisonError::into_inner);
        for path in std::iter::once(&self.control).chain(&*bulk).map(|directory| directory.path().join(name))
        {
            match fs::remove_dir_all(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &path, RUN_DIR_VARIABLE, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a child of this name needs to record itself.
    pub(crate) fn process_log(&self, name: &str) -> ProcessLog {
        ProcessLog::new(self.processes.clone(), &self.boot_id, name)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        leftovers::end_processes(&self.control);
        let bulk = self.bulk.get_mut().unwrap_or_else(PoisonError::into_inner);
        for directory in bulk.iter().chain(std::iter::once(&self.control)) {
            // What cannot be removed now is the next start's to remove, and to report.
            let _ = directory.remove();
            forget(directory.path());
        }
    }
}

/// Removes the directories of every [`RunDir`] of this process, in use or not, for a process about to end itself.
/// What fails is left to the next start.
pub fn remove_live() {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for path in live.iter().rev() {
        let _ = locked::remove_run_directory(path);
    }
}

fn remember(path: &Path) {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
}

fn forget(path: &Path) {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|live| live != path);
}

fn make_named(parent: &Path, name: &str, variable: &'static str) -> Result<PathBuf, RunDirError> {
    check_name(name)?;
    let path = parent.join(name);
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(io_error("create", &path, variable, source))
        }
        _ => Ok(path),
    }
}

fn check_name(name: &str) -> Result<(), RunDirError> {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let is_taken = [locked::LOCK, PROCESSES, BULK, CGROUPS, BRIDGES].contains(&name);
    if !is_plain || is_taken || name.is_empty() || name.len() > 64 || name.starts_with('.') {
        return Err(RunDirError::InvalidName { name: name.to_owned() });
    }
    Ok(())
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_dir() -> (tempfile::TempDir, RunDir) {
        let place = tempfile::tempdir().unwrap();
        let roots = Roots::new(place.path().join("c"), [place.path().join("b")]);
        let run_dir = RunDir::create_in(roots).unwrap();
        (place, run_dir)
    }

    #[test]
    fn dropping_removes_everything() {
        let (place, run_dir) = run_dir();
        let machine = run_dir.machine_dir("m1").unwrap();
        let bulk = run_dir.bulk_dir("m1", 1).unwrap();
        assert_eq!(run_dir.machine_dir("m1").unwrap(), machine);
        fs::write(machine.join("log"), "x").unwrap();
        fs::write(bulk.join("memory"), "x").unwrap();
        run_dir.remove_machine("m1").unwrap();
        assert!(!machine.exists() && !bulk.exists());

        run_dir.machine_dir("m2").unwrap();
        run_dir.bulk_dir("m2", 1).unwrap();
        let path = run_dir.path().to_owned();
        assert!(path.starts_with(place.path().join("c")));
        drop(run_dir);
        assert!(!path.exists());
        for base in ["c", "b"] {
            let left: Vec<_> =
                fs::read_dir(place.path().join(base)).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left, ["lock"]);
        }
    }

    #[test]
    fn a_bridge_that_nobody_removed_goes_with_the_run_and_others_stay() {
        if let Some(reason) = network::refuses_segments() {
            eprintln!("skipped: {reason}");
            return;
        }
        let (_place, run_dir) = run_dir();
        let (ours, other) = (run_dir.segment().unwrap(), Segment::make("vmb-test-other", 1).unwrap());
        let there = |segment: &Segment| Path::new("/sys/class/net").join(segment.bridge()).exists();
        append_to(&run_dir.path().join(BRIDGES)).unwrap().write_all(b"vmb-test-other\nlo\n").unwrap();
        assert!(there(&ours));
        drop(run_dir);
        assert!(!there(&ours) && there(&other));
    }

    #[test]
    fn a_name_is_one_plain_component() {
        let (_place, run_dir) = run_dir();
        let long = "x".repeat(65);
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a b",
            "lock",
            "processes",
            "bulk",
            "cgroups",
            "bridges",
            "ü",
            &long,
        ] {
            assert!(matches!(run_dir.machine_dir(name), Err(RunDirError::InvalidName { .. })), "{name:?}");
        }
        assert!(run_dir.machine_dir("qemu-1.a_B").is_ok());
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let roots = Roots::new(place.path().join("x".repeat(60)), []);
        assert!(matches!(RunDir::create_in(roots), Err(RunDirError::TooLong { limit: 64, .. })));
    }
}
