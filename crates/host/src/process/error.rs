use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Why a child process could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The child runs but cannot be watched; it has been killed.
    #[error("cannot watch process {pid} ({name}) through a pidfd; virtmark needs Linux 5.4 or newer")]
    Observe {
        /// Name given to the child.
        name: String,
        /// Its pid.
        pid: i32,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file for a standard stream could not be opened.
    #[error("cannot open {} for {name}; check that its directory exists and is writable", path.display())]
    Open {
        /// Name given to the child.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A descriptor to pass has the number of a standard stream, which the child needs for itself.
    #[error(
        "cannot pass descriptor {number} to {name}: 0 to 2 are its standard streams; duplicate it to 3 or higher"
    )]
    PassedFd {
        /// Name given to the child.
        name: String,
        /// The descriptor's number.
        number: RawFd,
    },
    /// The program could not be executed.
    #[error("cannot start {} for {name}; {}", program.display(), remedy(source))]
    Spawn {
        /// Name given to the child.
        name: String,
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "install it, or give the path it is at",
        io::ErrorKind::PermissionDenied => "check that it is executable for this user",
        io::ErrorKind::WouldBlock => "the limit of processes is reached (ulimit -u, pids cgroup)",
        io::ErrorKind::OutOfMemory => "free some memory",
        _ => "see the cause",
    }
}
