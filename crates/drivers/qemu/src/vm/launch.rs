//! Starts a QEMU process with everything that it is given, until it takes commands.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;
use virtmark_host::process::{ProcessError, Spawn, Stream, describe_exit};
use virtmark_hypervisor::link::AgentLink;
use virtmark_hypervisor::{BootImage, Error, MachineSpec, Result};
use virtmark_model::Stopwatch;

use super::end::{control_error, death};
use super::pin::pin;
use super::{EXIT_GRACE, Platform, QMP_TIMEOUT, Vm};
use crate::boot::BootPlan;
use crate::command_line::{CommandLine, DiskFile, DiskFiles, Memory, Sockets};
use crate::confinement::Files;
use crate::console::Console;
use crate::disks::{self, Layer, MachineDisk};
use crate::hosting::Hosting;
use crate::network::{self, Interfaces, Nic};
use crate::qmp::Qmp;

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
        let nics =
            network::prepare(&platform.segments, &platform.run_dir, spec, &platform.tuning, &mut spawn)?;
        let disk_files = disks.iter().map(|disk| pass(disk, &mut spawn)).collect::<Result<Vec<_>>>()?;
        let command_line = CommandLine {
            accelerator: platform.accelerator,
            disks: &disk_files,
            image: &files.image,
            incoming,
            memory: memory_kind,
            nics: &nics,
            plan,
            sockets,
            spec,
            tuning: &platform.tuning,
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
        pin(&mut qmp, &platform.tuning.pinned, &spec.name)?;
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

pub(super) fn socket_pair(what: &str) -> Result<(UnixStream, UnixStream)> {
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
