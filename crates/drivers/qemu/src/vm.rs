//! One QEMU process with its three connections: control, console, agent.

mod end;
mod freeze;
mod launch;
mod live;
mod memory;
mod migrate;
mod pin;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtmark_host::cgroup::MachineCgroup;
use virtmark_host::process::Child;
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::link::AgentLink;
use virtmark_hypervisor::{BootImage, Error, GuestLink, Identity, Result, allocated_bytes};
use virtmark_model::{Accelerator, Stopwatch};

pub(crate) use self::launch::Origin;
pub(crate) use self::live::Departure;
use crate::boot::BootPlan;
use crate::confinement::Confinement;
use crate::console::Console;
use crate::discover::Program;
use crate::disks::{self, MachineDisk};
use crate::hosting::{self, Hosting};
use crate::network::{Interfaces, Segments};
use crate::observe::QemuProbe;
use crate::qmp::Qmp;
use crate::tuning::Tuning;

/// How long QEMU may take for anything that does not depend on the guest.
pub(crate) const QMP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a killed process may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an exit may take to show after a connection has closed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// What is the same for all machines of one driver.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) accelerator: Accelerator,
    /// All the memory that the host, or virtmark's cgroup, has.
    pub(crate) memory_limit_bytes: u64,
    pub(crate) program: Program,
    pub(crate) run_dir: Arc<RunDir>,
    confinement: OnceLock<Confinement>,
    /// For machines that are hosts themselves.
    pub(crate) hosting: Option<Hosting>,
    /// What its machines share, made as they ask for it.
    segments: Segments,
    /// What its machines have beyond the usual.
    pub(crate) tuning: Tuning,
}

impl Platform {
    pub(crate) fn new(
        accelerator: Accelerator,
        memory_limit_bytes: u64,
        program: Program,
        run_dir: Arc<RunDir>,
    ) -> Self {
        let confinement = OnceLock::new();
        let segments = Segments::default();
        let (hosting, tuning) = (None, Tuning::default());
        Self { accelerator, memory_limit_bytes, program, run_dir, confinement, hosting, segments, tuning }
    }

    /// How its machines are started.
    pub(crate) fn plan(&self, vcpus: u32, image: Option<&BootImage>) -> BootPlan {
        let plan = BootPlan::choose(self.accelerator, vcpus).of_image(image);
        let cpu = match &self.hosting {
            Some(_) => hosting::CPU,
            None => self.tuning.cpu.unwrap_or(plan.cpu),
        };
        BootPlan { cpu, ..plan }
    }

    /// How machines are locked in here, found out at the first call.
    pub(crate) fn confinement(&self) -> &Confinement {
        let find = || Confinement::find(&self.program, self.accelerator, &self.run_dir);
        self.confinement.get_or_init(find)
    }
}

/// One QEMU process, its guest stopped until [`Vm::go`].
pub(crate) struct Vm {
    pub(crate) link: Arc<AgentLink>,
    pub(crate) console: Console,
    /// Guest memory, when it is in a file of its own that is shared with QEMU.
    pub(crate) memory: Option<File>,
    /// Shared with whoever watches the machine.
    qmp: Arc<Mutex<Qmp>>,
    child: Child,
    /// After the process, which must be gone before it can be removed.
    cgroup: Option<MachineCgroup>,
    directory: PathBuf,
    pub(crate) disks: Vec<MachineDisk>,
    pub(crate) connected: Interfaces,
    accelerator: Accelerator,
    kernel: PathBuf,
    memory_bytes: u64,
    name: String,
    /// The names of its directories: its own, and those of the processes that it came from, where its disks may be.
    homes: Vec<String>,
}

impl Vm {
    /// Lets the guest execute.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.command("cont", json!({})).map(drop)
    }

    /// Stops the guest where it is.
    pub(crate) fn hold(&mut self) -> Result<()> {
        self.command("stop", json!({})).map(drop)
    }

    /// Presses the virtual power button, whether or not anybody heeds it.
    pub(crate) fn press_power_button(&mut self, timeout: Duration) {
        // A process that has ended is off already, and one that does not answer does not heed it either.
        let _ = self.qmp().execute("system_powerdown", json!({}), timeout);
    }

    /// Waits until the agent answers after a boot. Marks `firmware_kernel`, `init` and `connect`.
    pub(crate) fn wait_booted(&self, timeout: Duration, watch: &mut Stopwatch) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let observed = self.console.wait_init(deadline);
        let Some(init_at) = observed.init_at else {
            return Err(self.why_silent(timeout));
        };
        watch.mark_at("firmware_kernel", init_at);
        let ready = self
            .link
            .wait_ready_unless(deadline, &|| self.why_dead())
            .map_err(|error| self.explained(error, timeout))?;
        watch.mark_at("init", ready.first_frame_at);
        watch.mark_at("connect", ready.connected_at);
        Ok(())
    }

    /// Runs a QMP command.
    pub(crate) fn command(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let answer = self.qmp().execute(command, arguments, QMP_TIMEOUT);
        answer.map_err(|error| self.qmp_error(&error))
    }

    /// How the process ended, if it ends within `timeout`.
    pub(crate) fn wait_exit(&self, timeout: Duration) -> Option<ExitStatus> {
        self.child.wait_timeout(timeout)
    }

    /// Whether a process that ended with `status` did what its guest asked for when that powered off.
    pub(crate) fn powered_off(&self, status: ExitStatus) -> bool {
        // QEMU ends in the same way when the guest restarts because its kernel panicked.
        status.success() && !self.console.wait_closed(Instant::now() + EXIT_GRACE).panicked
    }

    /// Whether the process runs.
    pub(crate) fn runs(&self) -> bool {
        self.child.try_wait().is_none()
    }

    /// What the process uses.
    pub(crate) fn process_usage(&self) -> Option<virtmark_host::process::ProcessUsage> {
        self.child.usage()
    }

    /// Bytes on disk in its files.
    pub(crate) fn disk_bytes(&self) -> Option<u64> {
        let files = allocated_bytes(&self.directory).ok()?;
        Some(files + disks::allocated_bytes(&self.disks).ok()?)
    }

    /// Watches it from another thread.
    pub(crate) fn probe(&self, vcpus: u32) -> QemuProbe {
        QemuProbe::new(
            self.name.clone(),
            (self.child.pid(), self.child.start_ticks()),
            vcpus,
            self.accelerator,
            self.memory_bytes,
            !self.disks.is_empty(),
            Arc::clone(&self.qmp),
        )
    }

    /// The control connection. A panic of another thread leaves at worst an answer that nobody waits for.
    fn qmp(&self) -> MutexGuard<'_, Qmp> {
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the agent of a restored guest answers. Marks `connect`.
    pub(crate) fn wait_restored(&self, timeout: Duration, watch: &mut Stopwatch) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let ready = self
            .link
            .reconnect_unless(deadline, &|| self.why_dead())
            .map_err(|error| self.explained(error, timeout))?;
        watch.mark_at("connect", ready.connected_at);
        Ok(())
    }

    /// Makes a restored guest its own. Marks `identity`.
    pub(crate) fn give_identity(&self, watch: &mut Stopwatch) -> Result<()> {
        let given = self.link.personalize(&Identity::fresh(&self.name)?);
        given.map_err(|error| self.why_dying_of(error))?;
        watch.mark("identity");
        Ok(())
    }

    /// Sets the wall clock of a guest that stood still.
    pub(crate) fn set_clock(&self) -> Result<()> {
        self.link.set_clock().map_err(|error| self.why_dying_of(error))
    }

    /// Kills the process if it still runs, and removes its files.
    pub(crate) fn remove(self, run_dir: &RunDir) -> Result<()> {
        let (ended, homes) = self.end();
        let removed = homes.iter().try_for_each(|home| run_dir.remove_machine(home));
        removed?;
        ended
    }

    /// Ends the process as [`remove`](Self::remove) does, and leaves its files to `heir`, which its machine is now.
    pub(crate) fn make_way(self, heir: &mut Self) -> Result<()> {
        let (ended, homes) = self.end();
        heir.homes.extend(homes);
        ended
    }

    fn end(self) -> (Result<()>, Vec<String>) {
        self.link.close();
        let killed = self.kill();
        drop(self.console);
        let unlimited = self.cgroup.map_or(Ok(()), MachineCgroup::remove);
        let unlimited = unlimited.map_err(Error::io(format!("remove the cgroup of {}", self.name)));
        (killed.and(unlimited), self.homes)
    }

    /// Ends the process at once, and waits until it is gone.
    pub(crate) fn kill(&self) -> Result<()> {
        self.child.kill_group();
        if self.child.wait_timeout(KILL_TIMEOUT).is_some() {
            return Ok(());
        }
        let reason = format!("it is still there after {KILL_TIMEOUT:?}, stuck in the kernel");
        let source = std::io::Error::new(std::io::ErrorKind::TimedOut, reason);
        Err(Error::io(format!("kill the VMM of {}", self.name))(source))
    }
}
