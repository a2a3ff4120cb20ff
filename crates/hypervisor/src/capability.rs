//! What a platform can do. What it cannot do is an absent capability, and a scenario that needs it is skipped
//! with a reason.

use std::collections::BTreeMap;
use std::fmt;

/// One thing a platform may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Keep a machine's console output.
    Console,
    /// Take a snapshot's content out of the host's memory.
    CoolSnapshot,
    /// Give a machine disks of its own.
    Disks,
    /// Ask the guest to stop by itself.
    GracefulStop,
    /// Boot a kernel: the machine has a firmware and kernel phase.
    KernelBoot,
    /// Move a running machine to another host process.
    Migrate,
    /// Give a machine a network of its own behind the host, with ports of its guest on the host's loopback interface.
    Network,
    /// Stop and continue execution without the guest's help.
    PauseResume,
    /// Report CPU time and memory as the host sees them.
    ResourceUsage,
    /// Make a machine from a snapshot.
    Restore,
    /// Give machines a network that they share with each other and the host.
    SharedNetwork,
    /// Keep the state of a running machine.
    Snapshot,
}

impl Capability {
    /// All of them, alphabetically.
    pub const ALL: [Self; 12] = [
        Self::Console,
        Self::CoolSnapshot,
        Self::Disks,
        Self::GracefulStop,
        Self::KernelBoot,
        Self::Migrate,
        Self::Network,
        Self::PauseResume,
        Self::ResourceUsage,
        Self::Restore,
        Self::SharedNetwork,
        Self::Snapshot,
    ];

    /// The name used in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::CoolSnapshot => "cool-snapshot",
            Self::Disks => "disks",
            Self::GracefulStop => "graceful-stop",
            Self::KernelBoot => "kernel-boot",
            Self::Migrate => "migrate",
            Self::Network => "network",
            Self::PauseResume => "pause-resume",
            Self::ResourceUsage => "resource-usage",
            Self::Restore => "restore",
            Self::SharedNetwork => "shared-network",
            Self::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Each capability: present, or absent with the reason.
#[derive(Clone, Debug)]
pub struct Capabilities {
    absent: BTreeMap<Capability, &'static str>,
}

impl Capabilities {
    /// Every capability but these, each absent for its reason.
    pub fn all_except(absent: impl IntoIterator<Item = (Capability, &'static str)>) -> Self {
        Self { absent: absent.into_iter().collect() }
    }

    /// Whether the platform has it.
    pub fn has(&self, capability: Capability) -> bool {
        !self.absent.contains_key(&capability)
    }

    /// Why the platform does not have it; `None` when it does.
    pub fn reason_absent(&self, capability: Capability) -> Option<&'static str> {
        self.absent.get(&capability).copied()
    }
}
