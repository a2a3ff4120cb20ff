//! Descriptors that whoever started this process left open.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, FdFlags, fcntl_setfd};

/// Takes over the descriptor of this number. To be called once for a number, before anything else is opened.
#[allow(unsafe_code)]
pub(crate) fn take(number: i32) -> io::Result<OwnedFd> {
    if !numbers()?.contains(&number) {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the descriptor is open, and was left open for this process to own: nothing else in it uses the number,
    // the directory from which it was listed least of all, as that is left out.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Keeps what this process was started with, except its standard streams and `passed`, from the processes that it
/// starts.
#[allow(unsafe_code)]
pub(crate) fn keep_private(passed: Option<i32>) -> io::Result<()> {
    for number in numbers()?.into_iter().filter(|number| *number > 2 && Some(*number) != passed) {
        // SAFETY: the descriptor was open when it was listed, and nothing has closed any since: this is called before
        // there are other threads.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    Ok(())
}

/// The descriptors that are open, without the one that listing them takes.
fn numbers() -> io::Result<Vec<i32>> {
    const OPEN: &str = "/proc/self/fd";
    let mut numbers = Vec::new();
    for entry in fs::read_dir(OPEN)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // Its own is closed by now. Looking at a link opens nothing.
    numbers.retain(|number| fs::symlink_metadata(format!("{OPEN}/{number}")).is_ok());
    Ok(numbers)
}
