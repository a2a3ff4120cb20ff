//! What the operator decides.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::api::StartKind;

/// What the operator decides of a service.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where templates and snapshots are kept. Made if it is not there; only its owner may have access.
    pub state: PathBuf,
    /// How a sandbox starts when its request does not say.
    pub start: StartKind,
    /// Warm machines that wait, of the default image and sizes.
    pub warm: u32,
    /// Virtual CPUs of a sandbox whose request does not say.
    pub vcpus: u32,
    /// The most that a sandbox may have.
    pub max_vcpus: u32,
    /// Memory of a sandbox whose request does not say.
    pub memory_mib: u64,
    /// The least that a sandbox may have: less, and its guest cannot boot.
    pub min_memory_mib: u64,
    /// The most that a sandbox may have.
    pub max_memory_mib: u64,
    /// Disk of a sandbox whose request does not say; 0 for none.
    pub disk_mib: u64,
    /// The most that a sandbox may have.
    pub max_disk_mib: u64,
    /// Added at the end of every kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Whether VMMs are locked in as far as the host permits.
    pub confined: bool,
    /// What locks VMMs in here, as plain facts; `None` for nothing. Everybody who reaches the service can read them.
    pub confinement: Option<serde_json::Value>,
    /// How long a guest may take to answer after start or restore.
    pub ready_timeout: Duration,
    /// Sandboxes at the same time, those in creation included.
    pub max_sandboxes: u64,
    /// Virtual CPUs of all sandboxes and warm machines.
    pub total_vcpus: u64,
    /// Memory of all sandboxes and warm machines.
    pub total_memory_mib: u64,
    /// Commands at the same time in one sandbox.
    pub max_execs: u32,
    /// Time limit of a command whose request does not say.
    pub exec_timeout: Duration,
    /// The longest one.
    pub max_exec_timeout: Duration,
    /// Bytes of each output stream that an answer holds.
    pub max_output_bytes: usize,
    /// Bytes of the body of a request, files not counted.
    pub max_request_bytes: usize,
    /// Bytes of a file that is put or got.
    pub max_file_bytes: u64,
    /// Life time of a sandbox whose request does not say.
    pub life: Duration,
    /// The longest one.
    pub max_life: Duration,
    /// Snapshots of clients that are kept.
    pub max_snapshots: usize,
    /// Templates that are kept; beyond that, those go that were not used for the longest time.
    pub max_templates: usize,
    /// Hears what the operator should know.
    pub notice: Notice,
}

impl Options {
    /// What fits most: templates, no warm machines, small sandboxes, limits that one small host can hold.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            start: StartKind::Template,
            warm: 0,
            vcpus: 1,
            max_vcpus: 8,
            memory_mib: 128,
            min_memory_mib: 64,
            max_memory_mib: 8192,
            disk_mib: 0,
            max_disk_mib: 16 << 10,
            kernel_arguments: Vec::new(),
            confined: true,
            confinement: None,
            ready_timeout: Duration::from_secs(60),
            max_sandboxes: 100,
            total_vcpus: 200,
            total_memory_mib: 16 << 10,
            max_execs: 16,
            exec_timeout: Duration::from_secs(60),
            max_exec_timeout: Duration::from_secs(3600),
            max_output_bytes: 1 << 20,
            max_request_bytes: 1 << 20,
            max_file_bytes: 256 << 20,
            life: Duration::from_secs(3600),
            max_life: Duration::from_secs(24 * 3600),
            max_snapshots: 64,
            max_templates: 4,
            notice: Notice::default(),
        }
    }
}

/// Hears what the operator should know, a sentence at a time, from any thread.
#[derive(Clone)]
pub struct Notice(Arc<dyn Fn(&str) + Send + Sync>);

impl Notice {
    /// Calls this.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(crate) fn tell(&self, words: &str) {
        (self.0)(words);
    }
}

impl Default for Notice {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Notice")
    }
}
