//! Machines made and restored.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use virtmark_hypervisor::{Error, MachineSpec, MachineState, Result, Snapshot};
use virtmark_model::{Phase, Timeline};

use crate::machine::EndpointMachine;
use crate::mapping::answer::StartAnswer;
use crate::mapping::template::{Placeholder, Values};
use crate::mapping::{Operation, Poll};
use crate::service::{Service, Task, only, plain};
use crate::snapshot;
use crate::times::{Reported, timeline};

/// Said of a request to make a machine whose answer was lost.
const LEFTOVER: &str = "the service may have made a machine all the same: look there, and destroy it";

/// What a service is asked for beside what a spec says.
#[derive(Debug)]
pub(crate) struct StartOptions {
    pub(crate) image: Option<String>,
    pub(crate) start: Option<String>,
    pub(crate) lifetime: Option<Duration>,
}

impl StartOptions {
    fn values(&self, spec: &MachineSpec) -> Values {
        let mut values = Values::from([(Placeholder::Name, Value::from(spec.name.as_str()))]);
        let mut add = |placeholder, value: Option<Value>| {
            if let Some(value) = value {
                values.insert(placeholder, value);
            }
        };
        let memory_bytes = Some(spec.memory_bytes).filter(|bytes| *bytes > 0);
        add(Placeholder::Image, self.image.as_deref().map(Value::from));
        add(Placeholder::LifetimeMs, self.lifetime.map(|lifetime| Value::from(whole_ms(lifetime))));
        add(Placeholder::LifetimeS, self.lifetime.map(|lifetime| Value::from(whole_s(lifetime))));
        add(Placeholder::MemoryBytes, memory_bytes.map(Value::from));
        add(Placeholder::MemoryMib, memory_bytes.map(|bytes| Value::from(bytes >> 20)));
        add(Placeholder::Start, self.start.as_deref().map(Value::from));
        add(Placeholder::Vcpus, Some(spec.vcpus).filter(|vcpus| *vcpus > 0).map(Value::from));
        values
    }
}

/// A machine that has not been told to start, though it runs.
pub(crate) fn create(
    service: &Arc<Service>,
    options: &StartOptions,
    spec: &MachineSpec,
) -> Result<(EndpointMachine, Timeline)> {
    let operation = &service.mapping.create;
    make(service, operation, &options.values(spec), spec, "create", MachineState::Created)
}

/// A machine that runs.
pub(crate) fn restore(
    service: &Arc<Service>,
    options: &StartOptions,
    snapshot: &Snapshot,
    spec: &MachineSpec,
) -> Result<(EndpointMachine, Timeline)> {
    let id = snapshot::id(service, snapshot)?;
    let operation = service.mapping.snapshot_restore.as_ref().ok_or_else(|| Error::WrongState {
        machine: spec.name.clone(),
        action: "restore",
        state: "at a service whose mapping has no snapshot_restore".into(),
    })?;
    let mut values = options.values(spec);
    values.insert(Placeholder::SnapshotId, id);
    make(service, operation, &values, spec, "restore", MachineState::Running)
}

fn make(
    service: &Arc<Service>,
    operation: &Operation<StartAnswer>,
    values: &Values,
    spec: &MachineSpec,
    name: &'static str,
    state: MachineState,
) -> Result<(EndpointMachine, Timeline)> {
    let started = Instant::now();
    let answer = service.json(&Task {
        request: &operation.request,
        values,
        action: format!("{name} {}", spec.name),
        machine: &spec.name,
        timeout: spec.ready_timeout,
        repeatable: false,
        leftover: Some(LEFTOVER),
    })?;
    let fields = &operation.answer;
    let id = answer.id(&fields.sandbox_id)?;
    let reported = Reported {
        duration_ns: fields.duration.as_ref().and_then(|duration| duration.ns(&answer.value)),
        phases: fields.phases.as_ref().and_then(|phases| phases.read(&answer.value)).unwrap_or_default(),
    };
    let start = fields.start.as_ref().and_then(|start| start.find(&answer.value)).map(plain);
    // From here on it is destroyed whatever happens.
    let machine = EndpointMachine::new(Arc::clone(service), spec.name.clone(), id.clone(), start, state);
    let answered_ns = nanoseconds(started.elapsed());
    let (mut timeline, note) = timeline(answered_ns, reported, name);
    if let Some(note) = note {
        service.notes.add(note);
    }
    if let Some(poll) = &operation.poll {
        wait_ready(service, poll, spec, &id, started)?;
        let duration_ns = nanoseconds(started.elapsed()) - answered_ns;
        timeline.phases.push(Phase { name: "ready".into(), start_ns: answered_ns, duration_ns });
    }
    Ok((machine, timeline))
}

/// Asks until the service says that the machine is ready.
fn wait_ready(
    service: &Service,
    poll: &Poll,
    spec: &MachineSpec,
    id: &Value,
    started: Instant,
) -> Result<()> {
    let limit = poll.limit.unwrap_or(spec.ready_timeout).min(spec.ready_timeout);
    let values = only(Placeholder::SandboxId, id);
    let action = format!("wait for {}", spec.name);
    loop {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Error::GuestSilent {
                machine: spec.name.clone(),
                timeout: limit,
                console: String::new(),
            });
        }
        let answer = service.json(&Task {
            request: &poll.request,
            values: &values,
            action: action.clone(),
            machine: &spec.name,
            timeout: left,
            repeatable: true,
            leftover: None,
        })?;
        match poll.at.find(&answer.value) {
            Some(state) if poll.failed.contains(state) => {
                return Err(Error::VmmExited {
                    machine: spec.name.clone(),
                    status: format!("the service says {state} at {}", poll.at),
                    output: String::new(),
                });
            }
            Some(state) if poll.ready.as_ref().is_none_or(|ready| ready.contains(state)) => return Ok(()),
            _ => thread::sleep(poll.interval.min(limit.saturating_sub(started.elapsed()))),
        }
    }
}

/// Whole nanoseconds; saturates after 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole milliseconds, and not less time than that.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    nanoseconds(duration).div_ceil(1_000_000)
}

/// Whole seconds, and not less time than that.
pub(crate) fn whole_s(duration: Duration) -> u64 {
    nanoseconds(duration).div_ceil(1_000_000_000)
}
