//! The service: what clients can ask, without HTTP.

mod create;
mod end;
mod exec;
mod files;
mod snapshots;
mod warm;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use virtmark_hypervisor::{Cancel, Capability, Hypervisor};

use crate::admission::Admission;
use crate::api::{
    CreateRequest, Created, DestroyRequest, Destroyed, ExecAnswer, ExecEnd, ExecRequest, FileRead, GuestPath,
    Health, HealthStatus, HypervisorHealth, RestoreRequest, SandboxId, SandboxInfo, SandboxList,
    SnapshotCreateRequest, SnapshotCreated, SnapshotDeleteRequest, SnapshotDeleted, SnapshotList, StartKind,
    StreamEvent,
};
use crate::gate::Gate;
use crate::gone::Memory;
use crate::metrics::Counters;
use crate::pool::Pool;
use crate::sandbox::{Sandbox, gone};
use crate::snapshots::Snapshots;
use crate::starting::Starting;
use crate::state::StateDir;
use crate::templates::Templates;
use crate::{Error, Gone, Images, Metrics, Options, Result};

/// How many ended sandboxes are remembered by name.
const GONE_LIMIT: usize = 10_000;

/// A running service. Every call blocks until its answer is there, and may be made from any thread. Dropping it ends
/// everything at once, as [`drain`](Self::drain) does after a while.
pub struct Service {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the service's threads share.
pub(crate) struct Core {
    hypervisor: Arc<dyn Hypervisor>,
    images: Arc<dyn Images>,
    options: Options,
    admission: Arc<Admission>,
    counters: Counters,
    gate: Gate,
    house: Mutex<House>,
    pool: Pool,
    snapshots: Snapshots,
    starting: Starting,
    templates: Templates,
    stopped: Mutex<bool>,
    stopping: Condvar,
    _state: StateDir,
}

/// Who lives here, and who did.
struct House {
    sandboxes: BTreeMap<SandboxId, Arc<Sandbox>>,
    gone: Memory,
    /// Nobody moves in any more.
    closed: bool,
}

impl Service {
    /// Takes over the state directory and begins to fill the warm pool. Snapshots and templates of earlier services are
    /// there again; what they left unfinished is removed.
    ///
    /// # Errors
    /// The state directory is in use or open to others; the platform cannot start sandboxes as `options` says; the
    /// default image is not there.
    pub fn open(
        hypervisor: Arc<dyn Hypervisor>,
        images: Arc<dyn Images>,
        options: Options,
    ) -> Result<Arc<Self>> {
        let core = Arc::new(Core::open(hypervisor, images, options)?);
        let service = Self { core, threads: Mutex::default() };
        service.spawn("virtmark-reaper", Core::reap)?;
        if service.core.options.warm > 0 {
            service.spawn("virtmark-warm", Core::keep_warm)?;
        }
        Ok(Arc::new(service))
    }

    /// Makes a sandbox; it answers commands when this returns.
    pub fn create(&self, request: CreateRequest) -> Result<Created> {
        self.counted(self.core.create(request))
    }

    /// Makes a sandbox that goes on from a client's snapshot.
    pub fn snapshot_restore(&self, request: RestoreRequest) -> Result<Created> {
        self.counted(self.core.restore(request))
    }

    /// Runs a command to its end. Its own failure, and its time limit, are answers.
    pub fn exec(&self, request: ExecRequest) -> Result<ExecAnswer> {
        self.exec_unless(request, &Cancel::new())
    }

    /// As [`exec`](Self::exec), and kills the command when it is given up; the result is then [`Error::ClientGone`].
    pub fn exec_unless(&self, request: ExecRequest, cancel: &Cancel) -> Result<ExecAnswer> {
        self.counted(self.core.exec(request, cancel))
    }

    /// Runs a command and hands over its output while it runs. It is killed when it is given up, or when `event` breaks;
    /// the result is then [`Error::ClientGone`].
    pub fn exec_stream(
        &self,
        request: ExecRequest,
        cancel: &Cancel,
        event: &mut dyn FnMut(StreamEvent) -> ControlFlow<()>,
    ) -> Result<ExecEnd> {
        self.counted(self.core.exec_stream(request, cancel, event))
    }

    /// Destroys a sandbox with everything that runs in it. Doing it again is no error.
    pub fn destroy(&self, request: DestroyRequest) -> Result<Destroyed> {
        Ok(self.core.destroy(request.sandbox_id))
    }

    /// All sandboxes.
    pub fn list(&self) -> SandboxList {
        self.core.list()
    }

    /// One sandbox, and what it uses.
    pub fn inspect(&self, id: &SandboxId) -> Result<SandboxInfo> {
        self.counted(self.core.inspect(id))
    }

    /// Writes a file of `size` bytes in the guest, whole or not at all, with these permission bits.
    pub fn put_file(
        &self,
        id: &SandboxId,
        path: &GuestPath,
        mode: u32,
        size: u64,
        source: &mut dyn Read,
    ) -> Result<()> {
        self.counted(self.core.put_file(id, path, mode, size, source))
    }

    /// Reads a file of the guest. What was written to `target` before a failure is not the file.
    pub fn get_file(&self, id: &SandboxId, path: &GuestPath, target: &mut dyn Write) -> Result<FileRead> {
        self.counted(self.core.get_file(id, path, target))
    }

    /// Keeps the state of a sandbox, which goes on afterwards.
    pub fn snapshot_create(&self, request: SnapshotCreateRequest) -> Result<SnapshotCreated> {
        self.counted(self.core.snapshot_create(request))
    }

    /// The snapshots that can be restored.
    pub fn snapshot_list(&self) -> SnapshotList {
        self.core.snapshot_list()
    }

    /// Deletes a snapshot. The files of one that sandboxes go on from go with the last of these.
    pub fn snapshot_delete(&self, request: SnapshotDeleteRequest) -> Result<SnapshotDeleted> {
        self.counted(self.core.snapshot_delete(request.snapshot_id))
    }

    /// What the service is and has.
    pub fn health(&self) -> Health {
        self.core.health()
    }

    /// What the service has counted.
    pub fn metrics(&self) -> Metrics {
        self.core.metrics()
    }

    /// What the operator decided.
    pub fn options(&self) -> &Options {
        &self.core.options
    }

    /// The names of the images that can be asked for.
    pub fn image_names(&self) -> Vec<String> {
        self.core.images.names()
    }

    /// Counts a request that was refused before it came here.
    pub fn count_rejected(&self, code: &'static str) {
        self.core.counters.rejected(code);
    }

    /// Takes no more work, gives commands and starts `patience` to end, then ends them, and destroys all machines.
    /// Snapshots and templates stay. Calling it again waits for the same end.
    pub fn drain(&self, patience: Duration) {
        self.core.drain(Instant::now() + patience);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // One that panicked has told so on standard error, and has nothing more to end.
            let _ = thread.join();
        }
    }

    fn spawn(&self, name: &str, run: fn(&Core)) -> Result<()> {
        let core = Arc::clone(&self.core);
        let thread = thread::Builder::new().name(name.into()).spawn(move || run(&core));
        let thread = thread.map_err(Error::internal(format!("start the thread {name}")))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    fn counted<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| self.core.counters.rejected(error.code()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

impl Core {
    fn open(hypervisor: Arc<dyn Hypervisor>, images: Arc<dyn Images>, options: Options) -> Result<Self> {
        if options.start != StartKind::Cold || options.warm > 0 {
            for capability in [Capability::Snapshot, Capability::Restore] {
                if let Some(reason) = hypervisor.capabilities().reason_absent(capability) {
                    let platform = &hypervisor.facts().name;
                    let message =
                        format!("{platform} can only start sandboxes cold: it lacks {capability}, {reason}");
                    return Err(Error::Unsupported { message });
                }
            }
        }
        let state = StateDir::open(&options.state)?;
        let core = Self {
            admission: Admission::new(&options),
            counters: Counters::default(),
            gate: Gate::default(),
            house: Mutex::new(House {
                sandboxes: BTreeMap::new(),
                gone: Memory::new(GONE_LIMIT),
                closed: false,
            }),
            pool: Pool::new(options.warm),
            snapshots: Snapshots::open(
                state.snapshots(),
                &hypervisor,
                options.max_snapshots,
                &options.notice,
            )?,
            starting: Starting::default(),
            templates: Templates::open(state.templates(), &hypervisor, &options)?,
            stopped: Mutex::default(),
            stopping: Condvar::new(),
            _state: state,
            hypervisor,
            images,
            options,
        };
        core.default_shape()?.check(&core.options)?;
        Ok(core)
    }

    /// A sandbox that is there; otherwise what became of it.
    fn sandbox(&self, id: &SandboxId) -> Result<Arc<Sandbox>> {
        let house = self.house();
        match (house.sandboxes.get(id), house.gone.end_of(id)) {
            // The reaper is on its way.
            (Some(sandbox), _) if sandbox.is_over() => Err(gone(id, &Gone::Expired)),
            (Some(sandbox), _) => Ok(Arc::clone(sandbox)),
            (None, Some(end)) => Err(gone(id, end)),
            (None, None) => Err(Error::SandboxUnknown(id.clone())),
        }
    }

    fn health(&self) -> Health {
        let facts = self.hypervisor.facts();
        Health {
            status: if self.gate.is_draining() { HealthStatus::Draining } else { HealthStatus::Ok },
            version: env!("CARGO_PKG_VERSION").into(),
            hypervisor: HypervisorHealth {
                name: facts.name.clone(),
                version: facts.version.clone(),
                accelerator: facts.accelerator,
                accelerator_reason: facts.accelerator_reason.clone(),
                configuration: facts.configuration.clone(),
                emulated: facts.is_emulated(),
            },
            // It was there when the service was opened.
            image: self.images.resolve(None).map(|image| image.facts).unwrap_or_default(),
            start: self.options.start,
            sandboxes: self.house().sandboxes.len() as u64,
            ready_warm: self.pool.ready() as u64,
            confinement: self.options.confinement.clone(),
        }
    }

    fn metrics(&self) -> Metrics {
        let promised = self.admission.promised();
        Metrics {
            sandboxes: promised.sandboxes,
            warm_ready: self.pool.ready() as u64,
            memory_committed_bytes: promised.memory_mib << 20,
            vcpus_committed: promised.vcpus,
            snapshots: self.snapshots.list().len() as u64,
            ..self.counters.read()
        }
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.house.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
