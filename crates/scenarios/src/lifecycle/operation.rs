//! The operations of a machine's life, and the names they go by.

use std::fmt;

use serde::{Deserialize, Serialize};
use virtmark_hypervisor::{Capability, Hypervisor};

/// An operation of a machine's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Make a machine that has not started.
    Create,
    /// Free everything of it.
    Destroy,
    /// Make a running machine from a snapshot.
    Restore,
    /// Keep its state while it runs.
    Snapshot,
    /// Start it until its agent answers.
    Start,
    /// End its execution.
    Stop,
}

impl Operation {
    /// All of them, in the order an iteration goes through them.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Start, Self::Snapshot, Self::Restore, Self::Stop, Self::Destroy];

    /// The metric of its samples.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Create => "vm_creation",
            Self::Destroy => "vm_destroy",
            Self::Restore => "restore",
            Self::Snapshot => "snapshot",
            Self::Start => "vm_startup",
            Self::Stop => "vm_shutdown",
        }
    }

    /// Its name in CSV rows, after the guide's `vm_create`.
    pub fn csv_name(self) -> &'static str {
        match self {
            Self::Create => "vm_create",
            Self::Destroy => "vm_destroy",
            Self::Restore => "restore",
            Self::Snapshot => "snapshot",
            Self::Start => "vm_start",
            Self::Stop => "vm_stop",
        }
    }

    /// Whether the platform can do it.
    pub fn is_possible(self, hypervisor: &dyn Hypervisor) -> bool {
        self.reason_impossible(hypervisor).is_none()
    }

    /// Why the platform cannot do it; `None` when it can. What cannot be snapshotted cannot be restored either.
    pub fn reason_impossible(self, hypervisor: &dyn Hypervisor) -> Option<&'static str> {
        let absent = |capability| hypervisor.capabilities().reason_absent(capability);
        match self {
            Self::Snapshot => absent(Capability::Snapshot),
            Self::Restore => absent(Capability::Restore).or_else(|| absent(Capability::Snapshot)),
            Self::Create | Self::Destroy | Self::Start | Self::Stop => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Create => "create",
            Self::Destroy => "destroy",
            Self::Restore => "restore",
            Self::Snapshot => "snapshot",
            Self::Start => "start",
            Self::Stop => "stop",
        })
    }
}
