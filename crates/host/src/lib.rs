//! The host as virtmark sees it: facts, child processes that cannot outlive it, run directories.

mod memory;
mod proc;
pub mod process;
pub mod rundir;
mod source;

/// Names this boot of the host (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> Option<String> {
    source::Source::new(std::path::Path::new("/")).text("proc/sys/kernel/random/boot_id")
}
