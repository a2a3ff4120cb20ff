//! The host as virtmark sees it: facts, child processes that cannot outlive it, run directories.

pub mod cgroup;
pub mod cpus;
pub mod doctor;
pub mod facts;
mod memory;
pub mod network;
mod proc;
pub mod process;
pub mod rundir;
pub mod signals;
mod source;

pub use facts::boot_id;
pub use memory::available_bytes as memory_available_bytes;
