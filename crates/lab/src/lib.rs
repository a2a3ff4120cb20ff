//! The lab: a machine with a real `/dev/kvm`, on hosts that have none.
//!
//! QEMU's emulator implements AMD's virtualisation with nested paging. A machine of the QEMU driver that gets it, with a
//! Debian on a read-only disk and the agent as its init, is a host on which everything that needs KVM can run: slowly,
//! but for real. Files go in on a second read-only disk, commands through the agent.
//!
//! [`Lab`] is such a machine; [`Owner`] keeps one beyond the life of a command, and [`Client`] is the way to it;
//! [`run`] takes files and a command to wherever KVM works, which is this host itself where it does.
//!
//! What is measured in the lab compares the parts of one run, and says nothing about hardware: see `docs/lab.md`.

mod client;
mod error;
mod job;
mod machine;
mod owner;
mod place;
mod room;
mod wire;

pub use client::{Client, Outcome};
pub use error::{Error, Result};
pub use job::{Choice, FILES_VARIABLE, Job, JobOutput, RESULTS_VARIABLE, Where, choose, run};
pub use machine::{Lab, LabOptions, SHARE};
pub use owner::Owner;
pub use place::{Place, Status};
