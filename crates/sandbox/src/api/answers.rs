//! What clients are answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use virtmark_model::{Accelerator, ImageFacts, Phase};

use super::{Metadata, SandboxId, SnapshotId, SnapshotName, StartKind};

/// A sandbox that answers: `POST /create` and `POST /snapshot/restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Its id, which is also its host name.
    pub sandbox_id: SandboxId,
    /// How it really started.
    pub start: Start,
    /// The parts of `duration_ns`, in order, without gaps.
    pub phases: Vec<Phase>,
    /// From the request in the service's hands to the answer ready, on the host's monotonic clock.
    pub duration_ns: u64,
    /// When it was ready.
    pub created_at: Timestamp,
    /// When it will be destroyed.
    pub expires_at: Timestamp,
    /// The name of its image.
    pub image: String,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Guest memory.
    pub memory_mib: u64,
    /// The client's own notes.
    pub metadata: Metadata,
}

/// How a sandbox started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// It booted.
    Cold,
    /// It went on from a client's snapshot.
    Snapshot,
    /// It went on from a snapshot of a guest that had booted.
    Template,
    /// It was restored beforehand and waited.
    Warm,
}

impl Start {
    /// All of them, alphabetically.
    pub const ALL: [Self; 4] = [Self::Cold, Self::Snapshot, Self::Template, Self::Warm];

    /// As it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Snapshot => "snapshot",
            Self::Template => "template",
            Self::Warm => "warm",
        }
    }
}

/// A command's whole run: `POST /exec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAnswer {
    /// Standard output, up to the service's limit, in the encoding that was asked for.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// As a shell tells it: its exit code, 128 + signal, 124 when its time limit passed.
    pub exit_code: i32,
    /// From the request in the service's hands to the answer ready.
    pub duration_ns: u64,
    /// Whether its time limit passed.
    pub timed_out: bool,
    /// Bytes written to standard output in all.
    pub stdout_bytes: u64,
    /// Bytes written to standard error in all.
    pub stderr_bytes: u64,
    /// Whether `stdout` is not all of it.
    pub stdout_truncated: bool,
    /// Whether `stderr` is not all of it.
    pub stderr_truncated: bool,
}

/// A piece of output of `POST /exec/stream`, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Of standard error.
    Stderr(StreamData),
    /// Of standard output.
    Stdout(StreamData),
}

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamData {
    /// In the encoding that was asked for. Each event is whole: text is never cut inside of a character, and each
    /// piece of base64 is padded.
    pub data: String,
}

/// How a command ended: the last event of `POST /exec/stream`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEnd {
    /// As in [`ExecAnswer`].
    pub exit_code: i32,
    /// As in [`ExecAnswer`].
    pub duration_ns: u64,
    /// As in [`ExecAnswer`].
    pub timed_out: bool,
}

/// `POST /destroy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destroyed {
    /// Which.
    pub sandbox_id: SandboxId,
    /// Whether this request did it; otherwise it was gone already, or never there.
    pub destroyed: bool,
}

/// `GET /sandboxes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxList {
    /// In the order of their ids.
    pub sandboxes: Vec<SandboxInfo>,
}

/// One sandbox: `GET /sandboxes/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxInfo {
    /// What its creation said of it.
    #[serde(flatten)]
    pub created: Created,
    /// What it is doing.
    pub state: SandboxState,
    /// What it uses; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<SandboxUsage>,
}

/// What a sandbox is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxState {
    /// It is being destroyed.
    Ending,
    /// It takes commands.
    Running,
}

/// What a sandbox uses, as the host sees it; what the host cannot tell is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxUsage {
    /// CPU time of its VMM.
    pub cpu_ns: Option<u64>,
    /// Resident set of its VMM.
    pub rss_bytes: Option<u64>,
    /// Resident set with shared pages divided among those who share them.
    pub pss_bytes: Option<u64>,
    /// Memory that it alone has.
    pub private_bytes: Option<u64>,
    /// Bytes on disk in its own files.
    pub disk_bytes: Option<u64>,
}

/// `POST /snapshot/create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCreated {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// What the client calls it.
    pub name: SnapshotName,
    /// When it was whole.
    pub created_at: Timestamp,
    /// Bytes that it takes on disk.
    pub disk_bytes: u64,
    /// The parts of `duration_ns`, in order, without gaps.
    pub phases: Vec<Phase>,
    /// From the request in the service's hands to the answer ready.
    pub duration_ns: u64,
}

/// `GET /snapshot/list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotList {
    /// In the order of their ids.
    pub snapshots: Vec<SnapshotInfo>,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// What the client calls it.
    pub name: SnapshotName,
    /// When it was whole.
    pub created_at: Timestamp,
    /// Bytes that it takes on disk.
    pub disk_bytes: u64,
    /// The image of its sandbox.
    pub image: String,
    /// Virtual CPUs of its sandbox.
    pub vcpus: u32,
    /// Guest memory of its sandbox.
    pub memory_mib: u64,
    /// Sandboxes that were restored from it and live.
    pub in_use_by: Vec<SandboxId>,
}

/// `POST /snapshot/delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDeleted {
    /// Which.
    pub snapshot_id: SnapshotId,
    /// Whether its files are gone.
    pub deleted: bool,
    /// Whether its files go with the last sandbox that uses them. It cannot be restored any more.
    pub deferred: bool,
}

/// `GET /sandboxes/{id}/files`: what went before the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// Permission bits.
    pub mode: u32,
    /// Bytes that were written.
    pub bytes: u64,
}

/// `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it takes work.
    pub status: HealthStatus,
    /// Version of virtmark.
    pub version: String,
    /// What runs the sandboxes.
    pub hypervisor: HypervisorHealth,
    /// The default image.
    pub image: ImageFacts,
    /// How a sandbox starts when its request does not say.
    pub start: StartKind,
    /// How many there are.
    pub sandboxes: u64,
    /// Warm machines that wait.
    pub ready_warm: u64,
    /// What locks the sandboxes' VMMs in, as the operator's program tells it; nothing does when absent.
    pub confinement: Option<serde_json::Value>,
}

/// Whether the service takes work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It is about to end, and takes none.
    Draining,
    /// It does.
    Ok,
}

/// What runs the sandboxes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HypervisorHealth {
    /// `qemu`, …
    pub name: String,
    /// As the platform says it.
    pub version: String,
    /// What executes guest code.
    pub accelerator: Option<Accelerator>,
    /// Why this accelerator.
    pub accelerator_reason: Option<String>,
    /// What else decides its speed.
    pub configuration: Option<String>,
    /// Whether guest code runs in software emulation.
    pub emulated: bool,
}
