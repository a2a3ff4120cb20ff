//! The machines of a run, which are gone on every way out.

use virtmark_hypervisor::{Disk, Hypervisor, Machine, MachineSpec, Network, Observer};

use super::failure::ToolFailure;
use super::{Guest, Suite, storage};
use crate::Progress;
use crate::destroy::end;

/// A machine that runs, destroyed when dropped.
pub(super) struct Running<'a> {
    pub(super) machine: Box<dyn Machine>,
    observer: Option<&'a dyn Observer>,
    progress: &'a dyn Progress,
}

impl<'a> Running<'a> {
    /// Makes and starts one.
    pub(super) fn start(
        hypervisor: &dyn Hypervisor,
        spec: &MachineSpec,
        observer: Option<&'a dyn Observer>,
        progress: &'a dyn Progress,
    ) -> Result<Self, ToolFailure> {
        progress.live(&format!("starting {}", spec.name));
        let failed = |error| ToolFailure::platform(&error);
        let (machine, _) = hypervisor.create(spec).map_err(failed)?;
        let mut running = Self { machine, observer, progress };
        if let Some(observer) = observer {
            observer.created(running.machine.as_ref());
        }
        running.machine.start().map_err(failed)?;
        if let Some(observer) = observer {
            observer.running(running.machine.as_ref());
        }
        Ok(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Told, and none of the measurements.
        let _ = end(self.machine.as_mut(), self.observer, self.progress);
    }
}

impl Guest {
    /// The machine that tools run in.
    pub(super) fn client_spec(&self, network: Option<Network>, has_disks: bool) -> MachineSpec {
        let mut spec = MachineSpec {
            name: "guest-1".into(),
            networks: network.into_iter().collect(),
            ..self.machine.clone()
        };
        if has_disks && self.plan.has(Suite::Storage) {
            spec.disks.push(Disk { name: storage::DISK.into(), size_bytes: self.plan.file_bytes });
        }
        spec
    }

    /// The machine at the other end of the network.
    pub(super) fn server_spec(&self, network: Network) -> MachineSpec {
        MachineSpec { name: "guest-2".into(), networks: vec![network], ..self.machine.clone() }
    }

    /// The bare host, as its platform takes it.
    pub(super) fn host_spec(&self) -> MachineSpec {
        MachineSpec {
            name: "host-1".into(),
            image: None,
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: Vec::new(),
            ..self.machine.clone()
        }
    }
}
