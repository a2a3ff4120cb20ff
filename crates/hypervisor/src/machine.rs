//! What a platform and its machines can be asked to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use virtmark_model::{HypervisorFacts, Timeline};

use crate::{
    Capabilities, Capability, Error, GuestLink, Interface, MachineProbe, MachineSpec, Migrated, Migration,
    Result,
};

/// A platform that runs machines.
pub trait Hypervisor: Send + Sync {
    /// Name, version and accelerator, as they go on record.
    fn facts(&self) -> &HypervisorFacts;

    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// Makes a machine that has not started: everything it needs is there, and no guest instruction has run.
    /// Phases: `prepare`, `spawn`.
    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)>;

    /// Makes a running machine from a snapshot, in which the agent answers. It is its own: its wall clock is the
    /// host's, its random numbers are nobody else's, its hostname is `spec.name`. Phases: `prepare`, `spawn`, `load`,
    /// `connect`, `identity`.
    fn restore(&self, snapshot: &Snapshot, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        let _ = (snapshot, spec);
        Err(self.unsupported(Capability::Restore))
    }

    /// Removes a snapshot and everything that stands for it.
    fn discard(&self, snapshot: Snapshot) -> Result<()> {
        let action = || format!("remove the snapshot {}", snapshot.directory.display());
        fs::remove_dir_all(&snapshot.directory).map_err(Error::io(action()))
    }

    /// Takes a snapshot's content out of the host's memory, so that the next restore reads it from the disk. Fails when
    /// any of it stays.
    fn cool(&self, snapshot: &Snapshot) -> Result<()> {
        let _ = snapshot;
        Err(self.unsupported(Capability::CoolSnapshot))
    }

    /// The error for a capability it lacks.
    fn unsupported(&self, capability: Capability) -> Error {
        Error::Unsupported {
            hypervisor: self.facts().name.clone(),
            capability,
            reason: self.capabilities().reason_absent(capability).unwrap_or("not implemented").into(),
        }
    }
}

/// One machine. Dropping it destroys it, whatever its state.
pub trait Machine: Send {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// What else is to be kept with its samples, by name: how a service came by it.
    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Its network interfaces, in the order of its specification; empty when it has none, or is gone.
    fn interfaces(&self) -> Vec<Interface> {
        Vec::new()
    }

    /// Where the host's programs find the TCP port `port` of its guest; `None` when there is no way to it.
    fn reach(&self, port: u16) -> Option<SocketAddr> {
        self.interfaces().iter().find_map(|interface| interface.reach(port))
    }

    /// What it is doing, as far as the platform knows without asking the guest.
    fn state(&self) -> MachineState;

    /// Starts it and waits until its agent answers. Phases: those the platform has of `firmware_kernel`, `init`,
    /// `connect`.
    fn start(&mut self) -> Result<Timeline>;

    /// The way into its guest; fails unless it is running.
    fn guest(&self) -> Result<Arc<dyn GuestLink>>;

    /// Ends its execution; it is then stopped, and can only be destroyed. Phases: `stop`, and `force` when a graceful
    /// stop passed its deadline. Fails for a machine that has ended by itself, or does so in another way than it was
    /// asked to.
    fn stop(&mut self, mode: StopMode) -> Result<Timeline>;

    /// Frees everything it holds on the host, killing it first if it still runs. Calling it again does nothing.
    /// Phases: `destroy`.
    fn destroy(&mut self) -> Result<Timeline>;

    /// Stops its execution where it is. Phases: `pause`.
    fn pause(&mut self) -> Result<Timeline>;

    /// Continues its execution. Phases: `resume`.
    fn resume(&mut self) -> Result<Timeline>;

    /// Keeps its state, the content of its disks with it, in the directory `directory`, which is created and must not
    /// exist; the machine goes on running, also when that fails. The directory is there when all of it would survive a loss
    /// of power, and not before. Phases: `prepare`, `pause`, `save`, `resume`, `store`; the guest stands still in `pause`,
    /// `save` and `resume`.
    fn snapshot(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)>;

    /// Moves it, while it runs, to another process of the platform, which is it from then on: its guest goes on with all it
    /// was doing, its name and its files, and its wall clock is the host's again. The agent's session is another:
    /// [`guest`](Self::guest) gives the link to it, earlier links are closed and what ran through them is killed, so that
    /// what is to go on must not be a command of a link. Whoever watches it by [`probe`](Self::probe) watches the process it
    /// came from.
    ///
    /// # Errors
    /// A machine that could not be moved runs where it was, unless it is said to have ended: [`state`](Self::state) tells.
    /// [`Error::NotMigrated`] says why; [`Error::OutOfMemory`] that there was no room for a second one of it, of which
    /// nothing was begun then.
    fn migrate(&mut self, migration: &Migration) -> Result<Migrated> {
        let _ = migration;
        Err(Error::Unsupported {
            hypervisor: "this platform".into(),
            capability: Capability::Migrate,
            reason: format!("{} cannot be moved", self.name()),
        })
    }

    /// A way to watch it from another thread, from now until it is destroyed. Cheap: nothing is opened yet.
    fn probe(&self) -> Result<Arc<dyn MachineProbe>> {
        Err(Error::Unsupported {
            hypervisor: "this platform".into(),
            capability: Capability::ResourceUsage,
            reason: format!("{} cannot be watched from another thread", self.name()),
        })
    }

    /// What it uses, as the host sees it.
    fn usage(&self) -> Result<Usage>;

    /// The end of its console output; empty where there is no console.
    fn console_tail(&self) -> String;

    /// An error of its guest link, or the machine's own reason for it where it has one: the link only sees that the
    /// agent is gone, the machine that its kernel panicked.
    fn explain(&self, error: Error) -> Error {
        error
    }
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// Made, and not started.
    Created,
    /// Gone; nothing of it is left on the host.
    Destroyed,
    /// Stopped where it is, able to continue.
    Paused,
    /// Executing.
    Running,
    /// Ended.
    Stopped,
}

impl fmt::Display for MachineState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Created => "not started",
            Self::Destroyed => "destroyed",
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Stopped => "stopped",
        })
    }
}

/// How to end a machine's execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// At once, without the guest's help.
    Forced,
    /// Ask the guest, and force it when `deadline` has passed.
    Graceful {
        /// How long the guest may take.
        deadline: Duration,
    },
}

/// The kept state of a machine, in a directory of its own. It is plain files: whoever made it removes it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Where its files are.
    pub directory: PathBuf,
    /// Bytes they take on disk.
    pub disk_bytes: u64,
}

/// What a machine uses, as the host sees it. What the host cannot tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the VMM, its guest's included.
    pub cpu_ns: Option<u64>,
    /// Resident set of the VMM.
    pub rss_bytes: Option<u64>,
    /// Resident set with shared pages divided among those who share them.
    pub pss_bytes: Option<u64>,
    /// Memory that only this VMM has, and that it alone would give back: its written pages.
    pub private_bytes: Option<u64>,
    /// Bytes on disk in files of this machine alone.
    pub disk_bytes: Option<u64>,
}
