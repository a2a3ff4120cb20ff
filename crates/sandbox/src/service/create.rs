//! The beginning of a sandbox.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use virtmark_hypervisor::{
    Capability, Command, Error as PlatformError, GuestLink, Identity, Machine, Snapshot,
};
use virtmark_model::{FailureClass, Stopwatch};

use super::Core;
use crate::admission::{Needs, Reservation};
use crate::api::{
    CreateRequest, Created, Env, Metadata, RestoreRequest, SandboxId, SnapshotId, Start, StartKind,
};
use crate::gate::Work;
use crate::gone::Gone;
use crate::kept::Kept;
use crate::sandbox::{Holdings, Parts, Sandbox};
use crate::shape::Shape;
use crate::{Error, Result};

/// What a guest runs before its state is kept, and before it waits.
const WARM_UP: &str = "echo warm";

/// How a template may fail that another one, made anew, would not.
const TEMPLATE_FAULTS: [FailureClass; 4] =
    [FailureClass::AgentLost, FailureClass::GuestPanic, FailureClass::Other, FailureClass::VmmExited];

/// What the client wants of its sandbox, whatever that goes on from.
struct Wishes {
    env: Env,
    metadata: Metadata,
    life: Duration,
}

/// A machine whose guest answers.
pub(super) struct Started {
    pub(super) start: Start,
    pub(super) id: SandboxId,
    pub(super) machine: Box<dyn Machine>,
    pub(super) origin: Option<Arc<Kept>>,
    pub(super) reservation: Reservation,
}

impl Core {
    pub(super) fn create(&self, request: CreateRequest) -> Result<Created> {
        let mut watch = Stopwatch::start();
        let _pass = self.gate.enter(Work::Create)?;
        let CreateRequest { image, vcpus, memory_mib, disk_mib, env, timeout_s, metadata, start } = request;
        let shape = Shape {
            image: self.images.resolve(image.as_ref())?,
            image_name: image,
            vcpus: vcpus.unwrap_or(self.options.vcpus),
            memory_mib: memory_mib.unwrap_or(self.options.memory_mib),
            disk_mib: disk_mib.unwrap_or(self.options.disk_mib),
        };
        shape.check(&self.options)?;
        let wishes = Wishes { env, metadata, life: self.life(timeout_s)? };
        let slot = self.admission.reserve(Needs { sandboxes: 1, ..Needs::default() })?;
        let started = self.start(start.unwrap_or(self.options.start), &shape, slot, &mut watch);
        let started = started.map_err(|error| self.unless_cut(error));
        let started = started.inspect_err(|error| self.count_failure(error))?;
        self.move_in(started, shape, wishes, None, watch)
    }

    pub(super) fn restore(&self, request: RestoreRequest) -> Result<Created> {
        let mut watch = Stopwatch::start();
        let _pass = self.gate.enter(Work::Create)?;
        let RestoreRequest { snapshot_id, env, timeout_s, metadata } = request;
        let wishes = Wishes { env, metadata, life: self.life(timeout_s)? };
        let (record, kept) = self.snapshots.find(&snapshot_id)?;
        // It brings its kernel and its agent along: the image is what the platform's command line wants.
        let shape = Shape {
            image: self.images.resolve(record.image_name.as_ref())?,
            image_name: record.image_name,
            vcpus: record.vcpus,
            memory_mib: record.memory_mib,
            disk_mib: record.disk_mib,
        };
        // Its sizes were once allowed; the service may be smaller by now.
        shape.check(&self.options)?;
        let needs = Needs { sandboxes: 1, ..shape.needs() };
        let reservation = self.room(needs)?;
        let id = new_id()?;
        let _start = self.starting.begin(&id)?;
        watch.mark("admit");
        let machine = self.go_on(kept.snapshot(), &shape, &id, &mut watch).map_err(|error| {
            let error = self.unless_cut(of_restore(&snapshot_id, &error));
            self.count_failure(&error);
            error
        })?;
        let started = Started { start: Start::Snapshot, id, machine, origin: Some(kept), reservation };
        self.move_in(started, shape, wishes, Some(snapshot_id), watch)
    }

    /// The sizes and the image of a sandbox whose request says nothing.
    pub(super) fn default_shape(&self) -> Result<Shape> {
        Ok(Shape {
            image_name: None,
            image: self.images.resolve(None)?,
            vcpus: self.options.vcpus,
            memory_mib: self.options.memory_mib,
            disk_mib: self.options.disk_mib,
        })
    }

    fn start(
        &self,
        kind: StartKind,
        shape: &Shape,
        slot: Reservation,
        watch: &mut Stopwatch,
    ) -> Result<Started> {
        if kind == StartKind::Warm {
            match self.start_warm(shape, slot, watch)? {
                Ok(started) => return Ok(started),
                Err(slot) => return self.start_alone(StartKind::Template, shape, slot, watch),
            }
        }
        self.start_alone(kind, shape, slot, watch)
    }

    /// Starts a machine of its own.
    fn start_alone(
        &self,
        kind: StartKind,
        shape: &Shape,
        mut reservation: Reservation,
        watch: &mut Stopwatch,
    ) -> Result<Started> {
        reservation.join(self.room(shape.needs())?);
        let id = new_id()?;
        let _start = self.starting.begin(&id)?;
        watch.mark("admit");
        let (start, machine, origin) = match kind {
            StartKind::Cold => {
                (Start::Cold, self.boot(shape, &id, watch).map_err(|error| Error::of_create(&error))?, None)
            }
            StartKind::Template | StartKind::Warm => {
                self.check_snapshots()?;
                let (machine, origin) = self.start_from_template(shape, &id, watch)?;
                (Start::Template, machine, Some(origin))
            }
        };
        Ok(Started { start, id, machine, origin, reservation })
    }

    /// Room for a machine. Warm machines give up theirs: a client comes first.
    pub(super) fn room(&self, needs: Needs) -> Result<Reservation> {
        loop {
            match self.admission.reserve(needs) {
                Err(error @ Error::Capacity { .. }) => match self.pool.pop() {
                    Some(warm) => drop(warm),
                    None => return Err(error),
                },
                outcome => return outcome,
            }
        }
    }

    fn boot(
        &self,
        shape: &Shape,
        id: &SandboxId,
        watch: &mut Stopwatch,
    ) -> Result<Box<dyn Machine>, PlatformError> {
        let spec = shape.spec(id.as_str(), &self.options, self.has_snapshots());
        let called = Instant::now();
        let (mut machine, timeline) = self.hypervisor.create(&spec)?;
        watch.append(timeline, called);
        let called = Instant::now();
        let timeline = machine.start()?;
        watch.append(timeline, called);
        if self.hypervisor.capabilities().has(Capability::KernelBoot) {
            personalize(&*machine, id)?;
            watch.mark("identity");
        }
        Ok(machine)
    }

    /// A machine that goes on from a template, which is made if it is not there, and made anew if it cannot be used.
    pub(super) fn start_from_template(
        &self,
        shape: &Shape,
        id: &SandboxId,
        watch: &mut Stopwatch,
    ) -> Result<(Box<dyn Machine>, Arc<Kept>)> {
        let subject = shape.subject(self.hypervisor.facts(), &self.options);
        let mut was_spoilt = false;
        loop {
            let found = self.templates.find(&subject, |directory| self.make_template(shape, directory))?;
            if found.waited {
                watch.mark("template");
            }
            match self.go_on(found.kept.snapshot(), shape, id, watch) {
                Ok(machine) => return Ok((machine, found.kept)),
                // Not the template's fault, but that of the end of the service.
                Err(_) if self.starting.is_closed() => return Err(Error::Draining),
                Err(error) if !was_spoilt && TEMPLATE_FAULTS.contains(&error.class()) => {
                    was_spoilt = true;
                    self.templates.spoil(&subject, found.kept, &error.to_string())?;
                }
                Err(error) => return Err(Error::of_create(&error)),
            }
        }
    }

    /// Boots a guest, has it run a command, and keeps it. The room for it is that of the sandbox which needs it.
    fn make_template(&self, shape: &Shape, directory: &std::path::Path) -> Result<Snapshot> {
        let id = new_id()?;
        let _start = self.starting.begin(&id)?;
        let make = || -> Result<Snapshot, PlatformError> {
            let mut machine = self.boot(shape, &id, &mut Stopwatch::start())?;
            warm_up(&*machine, self.options.ready_timeout)?;
            let (snapshot, _) = machine.snapshot(directory).map_err(|error| machine.explain(error))?;
            Ok(snapshot)
        };
        let made = make().map_err(|error| self.unless_cut(Error::of_create(&error)))?;
        self.counters.template_made();
        Ok(made)
    }

    fn go_on(
        &self,
        snapshot: &Snapshot,
        shape: &Shape,
        id: &SandboxId,
        watch: &mut Stopwatch,
    ) -> Result<Box<dyn Machine>, PlatformError> {
        let spec = shape.spec(id.as_str(), &self.options, true);
        let called = Instant::now();
        let (machine, timeline) = self.hypervisor.restore(snapshot, &spec)?;
        watch.append(timeline, called);
        Ok(machine)
    }

    /// A started machine becomes a sandbox.
    fn move_in(
        &self,
        started: Started,
        shape: Shape,
        wishes: Wishes,
        snapshot: Option<SnapshotId>,
        mut watch: Stopwatch,
    ) -> Result<Created> {
        let Started { start, id, machine, origin, reservation } = started;
        let link = machine.guest().map_err(|error| Error::of_create(&error))?;
        let created_at = Timestamp::now();
        watch.mark("register");
        let timeline = watch.finish();
        let created = Created {
            sandbox_id: id.clone(),
            start,
            duration_ns: timeline.total_ns(),
            phases: timeline.phases,
            created_at,
            // The longest life is far from the end of time.
            expires_at: created_at.saturating_add(wishes.life).unwrap_or(Timestamp::MAX),
            image: shape.image.facts.name.clone(),
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            metadata: wishes.metadata,
        };
        let sandbox = Arc::new(Sandbox::new(Parts {
            created: created.clone(),
            env: wishes.env,
            expires: Instant::now() + wishes.life,
            link,
            shape,
            snapshot,
            holdings: Holdings { machine, _origin: origin, _reservation: reservation },
        }));
        let moved_in = {
            let mut house = self.house();
            if !house.closed {
                house.sandboxes.insert(id, Arc::clone(&sandbox));
            }
            !house.closed
        };
        if !moved_in {
            self.end(&sandbox, Gone::Shutdown);
            return Err(Error::Draining);
        }
        self.counters.created(start, created.duration_ns);
        Ok(created)
    }

    fn life(&self, timeout_s: Option<u64>) -> Result<Duration> {
        let Some(timeout_s) = timeout_s else { return Ok(self.options.life) };
        let most = self.options.max_life.as_secs();
        if (1..=most).contains(&timeout_s) {
            return Ok(Duration::from_secs(timeout_s));
        }
        Err(Error::InvalidRequest(format!("timeout_s is {timeout_s}; 1 to {most} s are possible")))
    }

    pub(super) fn has_snapshots(&self) -> bool {
        self.hypervisor.capabilities().has(Capability::Snapshot)
    }

    fn check_snapshots(&self) -> Result<()> {
        for capability in [Capability::Snapshot, Capability::Restore] {
            if !self.hypervisor.capabilities().has(capability) {
                return Err(Error::of_create(&self.hypervisor.unsupported(capability)));
            }
        }
        Ok(())
    }

    /// What a failure to start means: once the service ends machines that start, that it ends.
    fn unless_cut(&self, error: Error) -> Error {
        if self.starting.is_closed() { Error::Draining } else { error }
    }

    fn count_failure(&self, error: &Error) {
        if let Some(class) = error.class() {
            self.counters.failed(class);
        }
    }
}

pub(super) fn new_id() -> Result<SandboxId> {
    SandboxId::random().map_err(Error::internal("draw random numbers for an id"))
}

/// Has a guest run one command, so that it finds in its caches what the next one needs.
pub(super) fn warm_up(machine: &dyn Machine, timeout: Duration) -> Result<(), PlatformError> {
    let command = Command { timeout: Some(timeout), ..Command::shell(WARM_UP) };
    let run = || machine.guest()?.exec(&command).map(drop);
    run().map_err(|error| machine.explain(error))
}

/// Makes a guest its own.
pub(super) fn personalize(machine: &dyn Machine, id: &SandboxId) -> Result<(), PlatformError> {
    let give = || {
        let link: Arc<dyn GuestLink> = machine.guest()?;
        link.personalize(&Identity::fresh(id.as_str())?)
    };
    give().map_err(|error| machine.explain(error))
}

/// The failure of a restore, as the platform tells it by the kind of its error.
fn of_restore(id: &SnapshotId, error: &PlatformError) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    let PlatformError::Io { source, .. } = error else { return Error::of_create(error) };
    let reason = error.to_string();
    match source.kind() {
        InvalidData | NotFound | UnexpectedEof => Error::SnapshotDamaged { snapshot: id.clone(), reason },
        InvalidInput => Error::SnapshotUnfit { snapshot: id.clone(), reason },
        _ => Error::of_create(error),
    }
}
