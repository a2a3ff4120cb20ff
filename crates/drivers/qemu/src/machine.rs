//! QEMU as a platform's machine.

mod keep;
mod migrate;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use virtmark_hypervisor::{
    BootImage, Capability, Error, GuestLink, Interface, Machine, MachineProbe, MachineSpec, MachineState,
    Migrated, Migration, Network, Result, Snapshot, StopMode, Usage,
};
use virtmark_model::{Stopwatch, Timeline};

use crate::boot::BootPlan;
use crate::disks::{check_disks, with_root};
use crate::snapshot::{Files, Opened, Shape};
use crate::vm::{Origin, Platform, Vm};

/// One QEMU machine.
pub(crate) struct QemuMachine {
    platform: Arc<Platform>,
    spec: MachineSpec,
    plan: BootPlan,
    state: MachineState,
    /// How often it was to move to another process.
    moves: u32,
    /// Absent once destroyed.
    vm: Option<Vm>,
}

impl QemuMachine {
    /// A machine that has not executed anything. Phases: `prepare`, `spawn`.
    pub(crate) fn create(platform: Arc<Platform>, spec: MachineSpec) -> Result<(Self, Timeline)> {
        let mut watch = Stopwatch::start();
        let spec = with_root(spec);
        let plan = platform.plan(spec.vcpus, spec.image.as_ref());
        let vm = Vm::launch(&platform, &spec, image_of(&spec)?, &plan, Origin::Boot, &mut watch)?;
        let machine = Self { platform, spec, plan, state: MachineState::Created, moves: 0, vm: Some(vm) };
        Ok((machine, watch.finish()))
    }

    /// A running machine that goes on where `snapshot` was taken. Phases: `prepare`, `spawn`, `load`,
    /// `connect`, `identity`.
    pub(crate) fn restore(
        platform: Arc<Platform>,
        snapshot: &Snapshot,
        spec: MachineSpec,
    ) -> Result<(Self, Timeline)> {
        let mut watch = Stopwatch::start();
        let spec = with_root(spec);
        let plan = platform.plan(spec.vcpus, spec.image.as_ref());
        check_disks(&spec)?;
        refuse_shared(&spec, Capability::Restore)?;
        let files = Files::in_directory(&snapshot.directory);
        let Opened { device_state, memory, disks } = files.open(&shape(&platform, &plan, &spec), &spec)?;
        let origin = Origin::Restore { memory: Some(&memory), disks };
        let vm = Vm::launch(&platform, &spec, image_of(&spec)?, &plan, origin, &mut watch)?;
        let timeout = spec.ready_timeout;
        // A machine from here on, so that one that does not get any further is destroyed like every other.
        let mut machine = Self { platform, spec, plan, state: MachineState::Created, moves: 0, vm: Some(vm) };
        let vm = machine.vm_in(MachineState::Created, "restore")?;
        vm.load(&device_state, true)?;
        watch.mark("load");
        vm.go()?;
        vm.wait_restored(timeout, &mut watch)?;
        vm.give_identity(&mut watch)?;
        machine.state = MachineState::Running;
        Ok((machine, watch.finish()))
    }

    fn vm(&self, action: &'static str) -> Result<&Vm> {
        self.vm.as_ref().ok_or_else(|| self.wrong_state(action))
    }

    /// The process of a machine that is in `wanted`.
    fn vm_in(&mut self, wanted: MachineState, action: &'static str) -> Result<&mut Vm> {
        let error = self.wrong_state(action);
        match &mut self.vm {
            Some(vm) if self.state == wanted => Ok(vm),
            _ => Err(error),
        }
    }

    fn wrong_state(&self, action: &'static str) -> Error {
        Error::WrongState { machine: self.spec.name.clone(), action, state: self.state.to_string() }
    }
}

impl Machine for QemuMachine {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn interfaces(&self) -> Vec<Interface> {
        self.vm.as_ref().map(|vm| vm.connected.interfaces.clone()).unwrap_or_default()
    }

    fn state(&self) -> MachineState {
        match &self.vm {
            Some(vm) if self.state != MachineState::Stopped && !vm.runs() => MachineState::Stopped,
            _ => self.state,
        }
    }

    fn start(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        let timeout = self.spec.ready_timeout;
        let vm = self.vm_in(MachineState::Created, "start")?;
        vm.go()?;
        vm.wait_booted(timeout, &mut watch)?;
        self.state = MachineState::Running;
        Ok(watch.finish())
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        match &self.vm {
            Some(vm) if self.state == MachineState::Running => Ok(vm.link.clone()),
            _ => Err(self.wrong_state("reach the guest of")),
        }
    }

    fn stop(&mut self, mode: StopMode) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        let running = self.state == MachineState::Running;
        let has_acpi = self.plan.has_acpi();
        let vm = match &mut self.vm {
            Some(vm) if matches!(self.state, MachineState::Running | MachineState::Paused) => vm,
            _ => return Err(self.wrong_state("stop")),
        };
        if !vm.runs() {
            // What ended by itself was not stopped by anybody, and took no time to stop.
            self.state = MachineState::Stopped;
            return Err(vm.exit_error());
        }
        let mut ended = None;
        if let (StopMode::Graceful { deadline }, true) = (mode, running) {
            let until = Instant::now() + deadline;
            let left = || until.saturating_duration_since(Instant::now());
            // A guest whose agent cannot be asked may still heed the power button, and needs time for it.
            let patience = if has_acpi { deadline / 2 } else { deadline };
            if vm.link.shutdown_within(patience).is_err() && has_acpi {
                vm.press_power_button(left());
            }
            ended = vm.wait_exit(left());
            watch.mark("stop");
        }
        match ended {
            Some(status) if vm.powered_off(status) => {}
            Some(_) => {
                self.state = MachineState::Stopped;
                return Err(vm.exit_error());
            }
            None => {
                vm.kill()?;
                watch.mark("force");
            }
        }
        self.state = MachineState::Stopped;
        Ok(watch.finish())
    }

    fn destroy(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        if let Some(vm) = self.vm.take() {
            self.state = MachineState::Destroyed;
            vm.remove(&self.platform.run_dir)?;
        }
        watch.mark("destroy");
        Ok(watch.finish())
    }

    fn pause(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        self.vm_in(MachineState::Running, "pause")?.hold()?;
        self.state = MachineState::Paused;
        watch.mark("pause");
        Ok(watch.finish())
    }

    fn resume(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        self.vm_in(MachineState::Paused, "resume")?.go()?;
        self.state = MachineState::Running;
        watch.mark("resume");
        Ok(watch.finish())
    }

    fn snapshot(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)> {
        refuse_shared(&self.spec, Capability::Snapshot)?;
        self.keep(directory)
    }

    fn migrate(&mut self, migration: &Migration) -> Result<Migrated> {
        self.move_on(migration)
    }

    fn probe(&self) -> Result<Arc<dyn MachineProbe>> {
        Ok(Arc::new(self.vm("watch")?.probe(self.spec.vcpus)))
    }

    fn usage(&self) -> Result<Usage> {
        let vm = self.vm("measure")?;
        let process = vm.process_usage();
        Ok(Usage {
            cpu_ns: process.map(|usage| usage.cpu_ns),
            rss_bytes: process.map(|usage| usage.rss_bytes),
            pss_bytes: process.and_then(|usage| usage.pss_bytes),
            private_bytes: process.and_then(|usage| usage.private_bytes),
            disk_bytes: vm.disk_bytes(),
        })
    }

    fn console_tail(&self) -> String {
        self.vm.as_ref().map(|vm| vm.console.tail()).unwrap_or_default()
    }

    fn explain(&self, error: Error) -> Error {
        match &self.vm {
            Some(vm) => vm.why_dying_of(error),
            None => error,
        }
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        // Nobody is left to tell; the run directory removes what stays.
        let _ = self.destroy();
    }
}

/// A guest that goes on elsewhere has the addresses of the one that was kept.
fn refuse_shared(spec: &MachineSpec, capability: Capability) -> Result<()> {
    let is_shared = |network: &Network| matches!(network, Network::Shared { .. });
    if !spec.networks.iter().any(is_shared) {
        return Ok(());
    }
    Err(Error::Unsupported {
        hypervisor: "qemu".into(),
        capability,
        reason: format!("{} is on a shared network, where two machines would have its addresses", spec.name),
    })
}

/// What a snapshot and a machine that goes on from it have in common.
fn shape(platform: &Platform, plan: &BootPlan, spec: &MachineSpec) -> Shape {
    Shape {
        qemu_version: platform.program.version.clone(),
        accelerator: platform.accelerator,
        machine: plan.machine.into(),
        vcpus: spec.vcpus,
        memory_bytes: spec.memory_bytes,
        networks: spec.networks.len(),
    }
}

fn image_of(spec: &MachineSpec) -> Result<&BootImage> {
    let image = spec.image.as_ref().ok_or_else(|| Error::KernelInvalid {
        path: "(no image)".into(),
        reason: format!("{} was given nothing to boot", spec.name),
    })?;
    let root = image.root.as_ref().map(|root| &root.file);
    for path in [&image.kernel, &image.initramfs].into_iter().chain(root) {
        let found = File::open(path).and_then(|file| file.metadata());
        let reason = match found {
            Ok(metadata) if metadata.is_file() && metadata.len() > 0 => continue,
            Ok(_) => "it is not a file with content".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => error.to_string(),
            Err(error) => return Err(Error::io(format!("open {}", path.display()))(error)),
        };
        return Err(Error::KernelInvalid { path: path.clone(), reason });
    }
    Ok(image)
}
