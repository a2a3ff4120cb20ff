//! One machine of a service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use virtmark_hypervisor::{
    Capability, Error, GuestLink, Machine, MachineProbe, MachineState, Result, Snapshot, StopMode, Usage,
};
use virtmark_model::{Stopwatch, Timeline};

use crate::ABSENT;
use crate::guest::EndpointGuest;
use crate::mapping::answer::Pointer;
use crate::mapping::template::{Placeholder, Values};
use crate::probe::EndpointProbe;
use crate::service::{Service, Task, only, plain};
use crate::snapshot;

/// One machine of a service; destroyed there when dropped.
pub(crate) struct EndpointMachine {
    service: Arc<Service>,
    sandbox: Arc<Sandbox>,
    /// How the service came by it, in its words.
    start: Option<String>,
    state: MachineState,
}

/// What identifies it.
pub(crate) struct Sandbox {
    /// Our name.
    pub(crate) machine: String,
    /// The service's.
    pub(crate) id: Value,
}

impl Sandbox {
    pub(crate) fn values(&self) -> Values {
        only(Placeholder::SandboxId, &self.id)
    }

    /// For messages: both names.
    pub(crate) fn told(&self) -> String {
        format!("{} (the service's {})", self.machine, plain(&self.id))
    }
}

impl EndpointMachine {
    pub(crate) fn new(
        service: Arc<Service>,
        machine: String,
        id: Value,
        start: Option<String>,
        state: MachineState,
    ) -> Self {
        Self { service, sandbox: Arc::new(Sandbox { machine, id }), start, state }
    }

    fn wrong_state(&self, action: &'static str) -> Error {
        Error::WrongState { machine: self.sandbox.machine.clone(), action, state: self.state.to_string() }
    }

    fn running(&self, action: &'static str) -> Result<()> {
        if self.state == MachineState::Running { Ok(()) } else { Err(self.wrong_state(action)) }
    }

    fn unsupported(&self, capability: Capability) -> Error {
        let reason = ABSENT.iter().find(|(absent, _)| *absent == capability);
        Error::Unsupported {
            hypervisor: self.service.mapping.provider.clone(),
            capability,
            reason: reason.map_or("the mapping has no request for it", |(_, reason)| reason).into(),
        }
    }
}

impl Machine for EndpointMachine {
    fn name(&self) -> &str {
        &self.sandbox.machine
    }

    /// `start`, where the service says how it came by the machine.
    fn labels(&self) -> BTreeMap<String, String> {
        self.start.iter().map(|start| ("start".to_owned(), start.clone())).collect()
    }

    fn state(&self) -> MachineState {
        self.state
    }

    /// Nothing is left to do: the service answered when the machine's agent did. No phases.
    fn start(&mut self) -> Result<Timeline> {
        if self.state != MachineState::Created {
            return Err(self.wrong_state("start"));
        }
        self.state = MachineState::Running;
        Ok(Timeline::default())
    }

    fn guest(&self) -> Result<Arc<dyn GuestLink>> {
        self.running("reach the guest of")?;
        Ok(Arc::new(EndpointGuest { service: Arc::clone(&self.service), sandbox: Arc::clone(&self.sandbox) }))
    }

    fn stop(&mut self, _mode: StopMode) -> Result<Timeline> {
        Err(self.unsupported(Capability::GracefulStop))
    }

    /// A machine that the service does not know any more is gone. Safe to repeat, and repeated once when a connection
    /// turns out to be closed.
    fn destroy(&mut self) -> Result<Timeline> {
        let mut watch = Stopwatch::start();
        if self.state != MachineState::Destroyed {
            self.service.gone(&Task {
                request: &self.service.mapping.destroy.request,
                values: &self.sandbox.values(),
                action: format!("destroy {}", self.sandbox.told()),
                machine: &self.sandbox.machine,
                timeout: self.service.timeout,
                repeatable: true,
                leftover: None,
            })?;
            self.state = MachineState::Destroyed;
        }
        watch.mark("destroy");
        Ok(watch.finish())
    }

    fn pause(&mut self) -> Result<Timeline> {
        Err(self.unsupported(Capability::PauseResume))
    }

    fn resume(&mut self) -> Result<Timeline> {
        Err(self.unsupported(Capability::PauseResume))
    }

    /// The directory holds one small file, which says what the service calls the snapshot. Phases: `http` and the service's
    /// own, or `snapshot` alone.
    fn snapshot(&mut self, directory: &Path) -> Result<(Snapshot, Timeline)> {
        self.running("take a snapshot of")?;
        let Some(operation) = &self.service.mapping.snapshot_create else {
            return Err(self.unsupported(Capability::Snapshot));
        };
        snapshot::take(&self.service, operation, &self.sandbox.machine, &self.sandbox.id, directory)
    }

    fn probe(&self) -> Result<Arc<dyn MachineProbe>> {
        if self.service.mapping.inspect.is_none() {
            return Err(self.unsupported(Capability::ResourceUsage));
        }
        if self.state == MachineState::Destroyed {
            return Err(self.wrong_state("watch"));
        }
        Ok(Arc::new(EndpointProbe { service: Arc::clone(&self.service), sandbox: Arc::clone(&self.sandbox) }))
    }

    fn usage(&self) -> Result<Usage> {
        if self.state == MachineState::Destroyed {
            return Err(self.wrong_state("measure"));
        }
        usage(&self.service, &self.sandbox, self.service.timeout)?
            .ok_or_else(|| self.unsupported(Capability::ResourceUsage))
    }

    fn console_tail(&self) -> String {
        String::new()
    }
}

impl Drop for EndpointMachine {
    fn drop(&mut self) {
        // Nobody is left to tell; the lifetime that the service was asked for ends what stays.
        let _ = self.destroy();
    }
}

/// What a machine uses, as far as the service says so; nothing when it cannot be asked.
pub(crate) fn usage(service: &Service, sandbox: &Sandbox, timeout: Duration) -> Result<Option<Usage>> {
    let Some(inspect) = &service.mapping.inspect else { return Ok(None) };
    let answer = service.json(&Task {
        request: &inspect.request,
        values: &sandbox.values(),
        action: format!("inspect {}", sandbox.told()),
        machine: &sandbox.machine,
        timeout,
        repeatable: true,
        leftover: None,
    })?;
    let figure = |at: &Option<Pointer>| at.as_ref()?.find(&answer.value)?.as_u64();
    let fields = &inspect.answer;
    Ok(Some(Usage {
        cpu_ns: figure(&fields.cpu_ns),
        rss_bytes: figure(&fields.rss_bytes),
        pss_bytes: figure(&fields.pss_bytes),
        private_bytes: figure(&fields.private_bytes),
        disk_bytes: figure(&fields.disk_bytes),
    }))
}
