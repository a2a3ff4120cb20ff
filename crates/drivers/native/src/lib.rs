//! The bare host as a machine: the baseline every guest is compared with.
//!
//! A machine is the same agent that runs in guests, as an ordinary process of this host, with a working directory of its
//! own. Commands run as this user, on this kernel, in this file system: nothing is isolated. Two processes look after
//! each other (the agent and its guard), so that nothing they started is left whichever way virtmark ends.

mod machine;
mod probe;
mod tree;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};
use virtmark_agent_binary::AGENT;
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{Capabilities, Capability, Error, Hypervisor, Machine, MachineSpec, Result};
use virtmark_model::{HypervisorFacts, Timeline};

use crate::machine::NativeMachine;

/// What the bare host cannot do.
const ABSENT: [(Capability, &str); 10] = [
    (Capability::Console, "the bare host as a machine has no console of its own"),
    (Capability::CoolSnapshot, "processes of the host cannot be kept in a file"),
    (Capability::Disks, "the bare host has the disks that it has"),
    (Capability::KernelBoot, "the host's kernel runs already"),
    (Capability::Migrate, "processes of the host stay on it"),
    (Capability::Network, "the bare host has the network that it has"),
    (Capability::PauseResume, "a tree of processes cannot be stopped in one moment"),
    (Capability::Restore, "processes of the host cannot be kept in a file"),
    (Capability::SharedNetwork, "the bare host has the network that it has"),
    (Capability::Snapshot, "processes of the host cannot be kept in a file"),
];

/// The bare host.
pub struct Native {
    facts: HypervisorFacts,
    capabilities: Capabilities,
    platform: Arc<Platform>,
}

/// What is the same for all machines.
pub(crate) struct Platform {
    /// The agent program, in memory: a place for it on disk might not allow programs.
    pub(crate) agent: File,
    pub(crate) run_dir: Arc<RunDir>,
}

impl Native {
    /// The host that this program runs on. Machines have their working directories in `run_dir`.
    pub fn new(run_dir: Arc<RunDir>) -> Result<Self> {
        let action = "keep the agent program in memory";
        let agent = memfd_create("virtmark-agent", MemfdFlags::CLOEXEC)
            .map_err(|error| Error::io(action)(error.into()))?;
        let mut agent = File::from(agent);
        agent.write_all(AGENT).map_err(Error::io(action))?;
        // The kernel refuses to execute what is open for writing.
        let agent = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&agent)))
            .map_err(Error::io(action))?;
        let facts = HypervisorFacts {
            name: "native".into(),
            version: rustix::system::uname().release().to_string_lossy().into_owned(),
            ..HypervisorFacts::default()
        };
        let platform = Arc::new(Platform { agent, run_dir });
        Ok(Self { facts, capabilities: Capabilities::all_except(ABSENT), platform })
    }
}

impl Hypervisor for Native {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Disks and networks are refused. What `spec` asks for beside its name and its time limit has no meaning here: the host's CPUs and
    /// memory are all there.
    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        if !spec.disks.is_empty() {
            return Err(self.unsupported(Capability::Disks));
        }
        if !spec.networks.is_empty() {
            return Err(self.unsupported(Capability::Network));
        }
        let (machine, timeline) = NativeMachine::create(Arc::clone(&self.platform), spec)?;
        Ok((Box::new(machine), timeline))
    }
}
