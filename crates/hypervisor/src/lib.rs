//! What a platform implements: [`Hypervisor`], [`Machine`], [`GuestLink`], and the conformance suite that every
//! driver passes.
//!
//! Calls block. A measurement must not wait for a runtime's scheduler, and the threads a run needs are few.

mod allocated;
mod cancel;
mod capability;
pub mod conformance;
mod error;
mod guest;
mod identity;
pub mod link;
mod machine;
mod migration;
mod network;
mod observe;
mod spec;
pub mod ssh;

pub use allocated::allocated_bytes;
pub use cancel::{Cancel, Hearing};
pub use capability::{Capabilities, Capability};
pub use error::{Error, Result};
pub use guest::{
    Command, ExecHandle, ExecOutput, ExecStatus, GuestClock, GuestFacts, GuestLink, OutputChunk,
    OutputStream, Program, ResourceUse,
};
pub use identity::Identity;
pub use machine::{Hypervisor, Machine, MachineState, Snapshot, StopMode, Usage};
pub use migration::{Migrated, Migration, MigrationChannel, MigrationFigures, MigrationMode};
pub use network::{Interface, Mac, Network, Reach};
pub use observe::{MachineProbe, MetricKind, Observer, Sink};
pub use spec::{BootImage, Disk, MachineSpec, RootDisk};
