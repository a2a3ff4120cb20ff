//! What this host can run and how well, one [`Check`] a question, with what to do about it.
//!
//! Whether KVM really runs a guest only a guest can tell; that check belongs to whoever starts one.

mod devices;
mod limits;
mod tuning;
mod virtualisation;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use virtualisation::{KvmNode, kvm_node};

use crate::facts::{Cpu, hypervisor};
use crate::source::Source;

/// How long steal is watched. At 100 ticks a second it is 20 ticks on every CPU.
const STEAL_INTERVAL: Duration = Duration::from_millis(200);

/// The answer to one question about the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stays the same over versions: `kvm-node`.
    pub id: String,
    /// What was looked at, in a few words.
    pub title: String,
    /// What it means for measuring.
    pub status: Status,
    /// What was found, in one line.
    pub finding: String,
    /// What to do about it, where there is something: commands, or a sentence.
    pub remedy: Option<String>,
}

/// What a finding means for measuring, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Good,
    /// Worth knowing; figures are sound.
    Info,
    /// Figures will be worse or less steady than this host could give, or some cannot be taken.
    Warning,
    /// Nothing can be measured.
    Bad,
}

/// Looks at the host under this directory (`/`). Takes about 200 ms, in which steal is watched.
pub fn host_checks(root: &Path) -> Vec<Check> {
    checks(root, STEAL_INTERVAL)
}

fn checks(root: &Path, steal_interval: Duration) -> Vec<Check> {
    let source = Source::new(root);
    let cpu = Cpu::read(&source);
    let host = Host { hypervisor: hypervisor(&source, &cpu), cpu, source };
    vec![
        virtualisation::platform(&host),
        virtualisation::cpu_support(&host),
        virtualisation::node(&host),
        virtualisation::nesting(&host),
        devices::vsock(&host),
        devices::tap(&host),
        limits::cpus(&host),
        limits::memory(&host),
        limits::shared_memory(&host),
        limits::cgroups(&host),
        tuning::huge_pages(&host),
        tuning::transparent_huge_pages(&host),
        tuning::page_merging(&host),
        tuning::governor(&host),
        tuning::smt(&host),
        tuning::clock_source(&host),
        tuning::address_randomisation(&host),
        tuning::load(&host),
        tuning::steal(&host, steal_interval),
    ]
}

/// What every check looks at.
struct Host {
    source: Source,
    cpu: Cpu,
    /// The hypervisor outside, when there is one.
    hypervisor: Option<String>,
}

impl Check {
    /// An answer with nothing to do about it.
    pub fn new(id: &str, title: &str, status: Status, finding: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), status, finding: finding.into(), remedy: None }
    }

    /// The same answer, with what to do about it.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Bytes for people: `1.5 GiB`.
fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
