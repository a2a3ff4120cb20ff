//! One QEMU process with its three connections: control, console, agent.

mod end;
mod freeze;
mod live;
mod memory;
mod migrate;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtmark_host::cgroup::MachineCgroup;
use virtmark_host::process::{Child, ProcessError, Spawn, Stream, describe_exit};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::link::AgentLink;
use virtmark_hypervisor::{BootImage, Error, GuestLink, Identity, MachineSpec, Result, allocated_bytes};
use virtmark_model::{Accelerator, Stopwatch};

use self::end::{control_error, death};
pub(crate) use self::live::Departure;
use crate::boot::BootPlan;
use crate::command_line::{CommandLine, DiskFile, DiskFiles, Memory, Sockets};
use crate::confinement::{Confinement, Files};
use crate::console::Console;
use crate::discover::Program;
use crate::disks::{self, Layer, MachineDisk};
use crate::hosting::{self, Hosting};
use crate::network::{self, Interfaces, Nic, Segments};
use crate::observe::QemuProbe;
use crate::qmp::Qmp;
use crate::tuning::Remedy;

/// How long QEMU may take for anything that does not depend on the guest.
pub(crate) const QMP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a killed process may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an exit may take to show after a connection has closed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// The log of a machine's console, in its directory.
const CONSOLE: &str = "console";

/// Where a new machine's memory comes from.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// A fresh boot.
    Boot,
    /// Another process, which the machine comes from: the name of its home here, and the disks of both.
    Move { home: &'a str, disks: Vec<MachineDisk> },
    /// A snapshot: the file that memory is mapped from, or none when it is in the stream, and the layers of its disks.
    Restore { memory: Option<&'a Path>, disks: Vec<Vec<Layer>> },
}

impl Origin<'_> {
    /// The name of the directories of its files, which is the machine's unless another process has these.
    fn home<'a>(&'a self, spec: &'a MachineSpec) -> &'a str {
        match self {
            Self::Move { home, .. } => home,
            Self::Boot | Self::Restore { .. } => &spec.name,
        }
    }
}

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
    /// What its machines have beyond the usual.
    pub(crate) remedy: Option<Remedy>,
    /// What its machines share, made as they ask for it.
    segments: Segments,
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
        let (hosting, remedy) = (None, None);
        Self { accelerator, memory_limit_bytes, program, run_dir, confinement, hosting, remedy, segments }
    }

    /// How its machines are started.
    pub(crate) fn plan(&self, vcpus: u32, image: Option<&BootImage>) -> BootPlan {
        let plan = BootPlan::choose(self.accelerator, vcpus).of_image(image);
        let cpu = match (&self.hosting, self.remedy) {
            (Some(_), _) => hosting::CPU,
            (None, Some(Remedy::CpuMax)) => "max",
            (None, _) => plan.cpu,
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
    /// Starts QEMU and waits until it takes commands. Marks `prepare` and `spawn`.
    pub(crate) fn launch(
        platform: &Platform,
        spec: &MachineSpec,
        image: &BootImage,
        plan: &BootPlan,
        origin: Origin<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Self> {
        check_memory(spec, platform.memory_limit_bytes)?;
        let home = origin.home(spec).to_owned();
        let directory = platform.run_dir.machine_dir(&home)?;
        // Fails where a machine of this name has one.
        let log = directory.join(CONSOLE);
        File::create_new(&log).map_err(Error::io(format!("create {}", log.display())))?;
        Self::launch_in(directory, platform, spec, image, plan, origin, watch).inspect_err(|_| {
            // The run directory removes what stays; the first error is the one that matters.
            let _ = platform.run_dir.remove_machine(&home);
        })
    }

    fn launch_in(
        directory: PathBuf,
        platform: &Platform,
        spec: &MachineSpec,
        image: &BootImage,
        plan: &BootPlan,
        origin: Origin<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Self> {
        let (qmp_ours, qmp_theirs) = socket_pair("control")?;
        let (console_ours, console_theirs) = socket_pair("console")?;
        let (agent_ours, agent_theirs) = socket_pair("agent")?;
        let home = origin.home(spec).to_owned();
        let (mapped, incoming, disks) = match origin {
            Origin::Boot => (None, false, disks::create(&platform.run_dir, spec)?),
            Origin::Move { disks, .. } => (None, true, disks),
            Origin::Restore { memory, disks } => {
                (memory, true, disks::restore(&platform.run_dir, spec, disks)?)
            }
        };
        let memory = if spec.snapshots && mapped.is_none() { Some(memory_file(spec)?) } else { None };

        let mut spawn = Spawn::new(home.clone(), &platform.program.path);
        let sockets = Sockets {
            agent: spawn.pass_fd(agent_theirs.into()),
            console: spawn.pass_fd(console_theirs.into()),
            qmp: spawn.pass_fd(qmp_theirs.into()),
        };
        let mut files = Files { image: image.clone(), memory: mapped.map(Path::to_path_buf) };
        let mut cgroup = None;
        if spec.confined {
            files = platform.confinement().lock_in(&mut spawn, &files, spec)?;
            cgroup = platform.confinement().cgroup(&platform.run_dir, &home, spec)?;
        }
        let memory_kind = match (&memory, &files.memory) {
            (Some(file), _) => Memory::Shared(spawn.pass_fd(duplicate(file)?)),
            (None, Some(path)) => Memory::PrivateOver(path),
            (None, None) => Memory::Anonymous,
        };
        let nics = network::prepare(&platform.segments, &platform.run_dir, spec, &mut spawn)?;
        let disk_files = disks.iter().map(|disk| pass(disk, &mut spawn)).collect::<Result<Vec<_>>>()?;
        let command_line = CommandLine {
            accelerator: platform.accelerator,
            disks: &disk_files,
            image: &files.image,
            incoming,
            memory: memory_kind,
            nics: &nics,
            plan,
            remedy: platform.remedy,
            sockets,
            spec,
        };
        spawn.args(command_line.arguments()).current_dir(&directory);
        spawn.args(platform.hosting.iter().flat_map(Hosting::arguments));
        spawn.stderr(Stream::File(directory.join("stderr")));
        let console = Console::start(console_ours, &directory.join(CONSOLE))
            .map_err(Error::io(format!("read the console of {}", spec.name)))?;
        let link = AgentLink::connect(agent_ours, spec.name.clone(), console.tail_source())?;
        watch.mark("prepare");

        let child = spawn.start(&platform.run_dir).map_err(|error| start_error(platform, error))?;
        if let Some(cgroup) = &cgroup {
            // While QEMU starts, as the kernel takes its time; long before its guest may execute anything.
            cgroup.adopt(child.pid()).map_err(Error::io(format!("limit what {} may use", spec.name)))?;
        }
        let (accelerator, kernel) = (platform.accelerator, &image.kernel);
        let dead = |status: String| {
            death(
                accelerator,
                kernel,
                (&spec.name, spec.memory_bytes),
                cgroup.as_ref(),
                &console,
                &directory,
                status,
            )
        };
        let mut qmp = match Qmp::negotiate(qmp_ours, QMP_TIMEOUT) {
            Ok(qmp) => qmp,
            Err(error) => {
                return Err(match child.wait_timeout(EXIT_GRACE) {
                    Some(status) => dead(describe_exit(status)),
                    None => control_error(&spec.name, &error),
                });
            }
        };
        let connected = connect(&mut qmp, nics, &spec.name)?;
        watch.mark("spawn");
        Ok(Self {
            link: Arc::new(link),
            console,
            memory,
            qmp: Arc::new(Mutex::new(qmp)),
            child,
            cgroup,
            directory,
            disks,
            connected,
            accelerator: platform.accelerator,
            kernel: image.kernel.clone(),
            memory_bytes: spec.memory_bytes,
            name: spec.name.clone(),
            homes: vec![home],
        })
    }

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

/// The interfaces of a machine whose QEMU has started.
fn connect(qmp: &mut Qmp, nics: Vec<Nic>, name: &str) -> Result<Interfaces> {
    let failed = |reason: String| {
        Error::io(format!("find the ports of the host through which {name} is reached"))(
            std::io::Error::other(reason),
        )
    };
    let mut usernet = String::new();
    if network::has_forwards(&nics) {
        let question = json!({ "command-line": "info usernet" });
        let answer = qmp.execute("human-monitor-command", question, QMP_TIMEOUT);
        usernet = answer.map_err(|error| failed(error.to_string()))?.as_str().unwrap_or_default().to_owned();
    }
    network::connected(nics, &usernet).map_err(failed)
}

/// Lets QEMU inherit the files of a disk.
fn pass(disk: &MachineDisk, spawn: &mut Spawn) -> Result<DiskFiles> {
    let mut file = |layer: &Layer| -> Result<DiskFile> {
        Ok(DiskFile { fd: spawn.pass_fd(layer.descriptor()?), format: layer.format })
    };
    let layers = disk.layers.iter().map(&mut file).collect::<Result<_>>()?;
    Ok(DiskFiles { layers, top: file(&disk.top)? })
}

/// Refuses a machine that is larger than the host: QEMU would start it, and the kernel kill something later.
fn check_memory(spec: &MachineSpec, limit_bytes: u64) -> Result<()> {
    if spec.memory_bytes <= limit_bytes {
        return Ok(());
    }
    Err(Error::OutOfMemory {
        machine: spec.name.clone(),
        wanted_bytes: spec.memory_bytes,
        reason: format!("{limit_bytes} bytes is all that this host or its cgroup has"),
    })
}

/// An unnamed file for guest memory: it is gone with the last process that has it open.
fn memory_file(spec: &MachineSpec) -> Result<File> {
    let make = || -> std::io::Result<File> {
        let file = File::from(rustix::fs::memfd_create("guest-memory", rustix::fs::MemfdFlags::CLOEXEC)?);
        file.set_len(spec.memory_bytes)?;
        Ok(file)
    };
    make().map_err(Error::io(format!("make a memory file for {}", spec.name)))
}

fn duplicate(file: &File) -> Result<OwnedFd> {
    file.try_clone().map(OwnedFd::from).map_err(Error::io("duplicate the descriptor of a memory file"))
}

fn socket_pair(what: &str) -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().map_err(Error::io(format!("make a socket pair for the {what} connection")))
}

/// Only a program that is not there is a missing hypervisor; a host that cannot start another process has one.
fn start_error(platform: &Platform, error: ProcessError) -> Error {
    match error {
        ProcessError::Spawn { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::HypervisorMissing {
                program: platform.program.path.display().to_string(),
                reason: source.to_string(),
                remedy: "see `virtmark doctor`".into(),
            }
        }
        error => error.into(),
    }
}
