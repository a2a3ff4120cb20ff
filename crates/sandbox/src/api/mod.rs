//! What clients ask and are answered, in the words of the wire.
//!
//! Requests refuse fields they do not know. Every text from a client has a type of its own that says what it may be; a
//! value of such a type was checked when it was read.

mod answers;
mod ids;
mod number;
mod requests;
mod text;

pub use answers::{
    Created, Destroyed, ExecAnswer, ExecEnd, FileRead, Health, HealthStatus, HypervisorHealth, SandboxInfo,
    SandboxList, SandboxState, SandboxUsage, SnapshotCreated, SnapshotDeleted, SnapshotInfo, SnapshotList,
    Start, StreamData, StreamEvent,
};
pub(crate) use ids::random_digits;
pub use ids::{SandboxId, SnapshotId};
pub use requests::{
    CreateRequest, DestroyRequest, Encoding, ExecRequest, RestoreRequest, SnapshotCreateRequest,
    SnapshotDeleteRequest, StartKind,
};
pub use text::{CommandText, Env, GuestPath, ImageName, InvalidText, Metadata, SnapshotName};
