//! QEMU machines: direct kernel start, QMP, snapshots that share memory.
//!
//! Each machine is one QEMU process that inherits its three connections as descriptors (control, console, agent):
//! there are no sockets in the file system, so nothing can be left behind or be too long a path.

mod boot;
mod command_line;
mod confinement;
mod console;
mod cool;
mod discover;
mod disks;
pub mod doctor;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hosting;
mod machine;
mod network;
mod observe;
pub mod probe;
mod qmp;
mod snapshot;
mod sparse;
mod tsc;
mod tuning;
mod verified;
mod vm;

use std::path::PathBuf;
use std::sync::Arc;

use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{
    BootImage, Capabilities, Capability, Error, Hypervisor, Machine, MachineSpec, Result, Snapshot,
};
use virtmark_model::{Accelerator, HypervisorFacts, MachineFacts, Timeline};

pub use confinement::{ConfinementFacts, Measure};
pub use discover::Program;
pub use hosting::{Hosting, ReadOnlyDisk, refuses_to_host};
pub use tuning::{Remedy, UnknownRemedy};

use crate::boot::BootPlan;
use crate::machine::QemuMachine;
use crate::probe::KvmState;
use crate::tuning::Tuning;
use crate::vm::Platform;

/// Which accelerator to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceleratorChoice {
    /// KVM when a probe guest really runs under it, otherwise TCG.
    #[default]
    Auto,
    /// KVM, or an error.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// What the driver needs to know beforehand.
#[derive(Clone, Debug, Default)]
pub struct QemuOptions {
    /// The QEMU program; the one for this architecture from `PATH` when absent.
    pub program: Option<PathBuf>,
    /// Which accelerator to use.
    pub accelerator: AcceleratorChoice,
    /// Where findings about KVM are remembered.
    pub cache: PathBuf,
    /// Virtual CPUs of the machines to come, which decide how they are started, as it goes on record.
    pub vcpus: u32,
}

/// QEMU on this host.
pub struct Qemu {
    capabilities: Capabilities,
    facts: HypervisorFacts,
    platform: Arc<Platform>,
}

impl Qemu {
    /// Finds QEMU and decides on the accelerator, for which it may boot `image` once. Machines live in `run_dir`.
    /// `notice` hears what takes long.
    pub fn new(
        options: &QemuOptions,
        image: &BootImage,
        run_dir: Arc<RunDir>,
        notice: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let program = Program::find(options.program.as_deref())?;
        let (accelerator, reason) = match options.accelerator {
            AcceleratorChoice::Tcg => (Accelerator::Tcg, "asked for with --accel tcg".to_owned()),
            choice => {
                let finding = probe::kvm(&program, image, &run_dir, &options.cache, notice)?;
                match (finding.state, choice) {
                    (KvmState::Usable, _) => (Accelerator::Kvm, finding.reason),
                    (_, AcceleratorChoice::Auto) => (Accelerator::Tcg, finding.reason),
                    (KvmState::Forbidden, _) => {
                        return Err(Error::PermissionDenied {
                            action: format!("use KVM: {}", finding.reason),
                            remedy: "add your user to the group kvm, or use --accel auto".into(),
                        });
                    }
                    _ => {
                        return Err(Error::AcceleratorUnavailable {
                            machine: "a machine".into(),
                            accelerator: "kvm".into(),
                            reason: finding.reason,
                        });
                    }
                }
            }
        };
        let vcpus = options.vcpus.max(1);
        let plan = BootPlan::choose(accelerator, vcpus).of_image(Some(image));
        let unshared = virtmark_host::network::refuses_segments();
        let facts = HypervisorFacts {
            name: "qemu".into(),
            version: program.version.clone(),
            accelerator: Some(accelerator),
            accelerator_reason: Some(reason),
            configuration: Some(plan.summary()),
            machine: Some(Tuning::default().facts(accelerator, plan.cpu, vcpus, unshared.is_none())),
            nested_in_emulation: accelerator == Accelerator::Kvm
                && virtmark_host::facts::host_facts().is_emulated(),
        };
        let capabilities =
            Capabilities::all_except(unshared.map(|reason| (Capability::SharedNetwork, reason)));
        let memory_limit_bytes = memory_limit_bytes();
        let platform = Arc::new(Platform::new(accelerator, memory_limit_bytes, program, run_dir));
        Ok(Self { capabilities, facts, platform })
    }

    /// The same with machines that are hosts themselves: they have virtualisation of their own, and these disks. To be
    /// called before the first of them is made.
    #[must_use]
    pub fn hosting(mut self, hosting: Hosting, vcpus: u32) -> Self {
        let Platform { accelerator, memory_limit_bytes, program, run_dir, .. } = &*self.platform;
        let mut platform =
            Platform::new(*accelerator, *memory_limit_bytes, program.clone(), Arc::clone(run_dir));
        platform.hosting = Some(hosting);
        let plan = platform.plan(vcpus, None);
        self.facts.configuration = Some(plan.summary());
        self.facts.machine = Some(self.machine_facts(&platform, &plan, vcpus));
        self.platform = Arc::new(platform);
        self
    }

    /// Another one whose machines have this remedy; the reason where machines like `spec` cannot have it here, or have it
    /// anyway.
    ///
    /// # Errors
    /// That reason.
    pub fn with_remedy(&self, remedy: Remedy, spec: &MachineSpec) -> std::result::Result<Self, String> {
        let tuning = remedy.tuning(&self.platform, spec)?;
        let Platform { accelerator, memory_limit_bytes, program, run_dir, .. } = &*self.platform;
        let mut platform =
            Platform::new(*accelerator, *memory_limit_bytes, program.clone(), Arc::clone(run_dir));
        platform.tuning = tuning;
        let plan = platform.plan(spec.vcpus, spec.image.as_ref());
        let configuration = Some(format!("{}, with {remedy}", plan.summary()));
        let machine = Some(self.machine_facts(&platform, &plan, spec.vcpus));
        let facts = HypervisorFacts { configuration, machine, ..self.facts.clone() };
        Ok(Self { capabilities: self.capabilities.clone(), facts, platform: Arc::new(platform) })
    }

    fn machine_facts(&self, platform: &Platform, plan: &BootPlan, vcpus: u32) -> MachineFacts {
        let has_taps = self.capabilities.has(Capability::SharedNetwork);
        platform.tuning.facts(platform.accelerator, plan.cpu, vcpus, has_taps)
    }

    /// How machines that are `confined` are locked in on this host. The first call finds out, and executes QEMU once.
    pub fn confinement(&self) -> &ConfinementFacts {
        self.platform.confinement().facts()
    }

    /// The options that decide how fast a guest boots, for a bare QEMU command line to compare with: machine type, CPU
    /// model and kernel arguments.
    pub fn bare_arguments(&self, vcpus: u32) -> Vec<(&'static str, String)> {
        let plan = BootPlan::choose(self.platform.accelerator, vcpus);
        vec![
            ("-machine", plan.machine.to_owned()),
            ("-cpu", plan.cpu.to_owned()),
            ("-append", plan.kernel_arguments.join(" ")),
        ]
    }
}

impl Hypervisor for Qemu {
    fn facts(&self) -> &HypervisorFacts {
        &self.facts
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn create(&self, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        let (machine, timeline) = QemuMachine::create(Arc::clone(&self.platform), spec.clone())?;
        Ok((Box::new(machine), timeline))
    }

    fn restore(&self, snapshot: &Snapshot, spec: &MachineSpec) -> Result<(Box<dyn Machine>, Timeline)> {
        let (machine, timeline) = QemuMachine::restore(Arc::clone(&self.platform), snapshot, spec.clone())?;
        Ok((Box::new(machine), timeline))
    }

    fn cool(&self, snapshot: &Snapshot) -> Result<()> {
        cool::cool(snapshot)
    }
}

/// All the memory that machines can have: the host's, or what the cgroup grants.
fn memory_limit_bytes() -> u64 {
    let host = virtmark_host::facts::host_facts();
    host.cgroup.memory_bytes.map_or(host.memory_total_bytes, |limit| limit.min(host.memory_total_bytes))
}
