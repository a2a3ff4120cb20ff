//! The end of a cgroup.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How long processes that are ending may take to leave.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
const INTERVAL: Duration = Duration::from_millis(1);

/// Removes a cgroup and those in it. One that is not there is fine.
pub(crate) fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(directory) {
            // Not empty yet: the kernel takes a process out of it a moment after it was reaped.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) && Instant::now() < deadline => {
                thread::sleep(INTERVAL);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
}
