//! A machine that is ready for runs: booted, with everything in it that they need.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{
    Command, Error, ExecOutput, GuestLink, Hypervisor, Machine, MachineSpec, Observer, Result,
};
use virtmark_model::Stopwatch;

use super::cap::Cap;
use super::plan::Location;
use super::service::{self, Service, ServiceSpec};
use crate::destroy::end;
use crate::trial::Trial;
use crate::{Interrupt, Progress};

/// Where the generator is put.
const GENERATOR: &str = "virtmark-load";
/// Where it finds what to do.
const JOB: &str = "job.json";
/// The directory of the sweep, with the guest's loopback interface up, without which nobody in it can be called.
const PREPARE_VM: &str = "mkdir -p \"$1\" && { ip link set lo up || ifconfig lo 127.0.0.1 up; }";
const PREPARE_NATIVE: &str = "mkdir -p \"$1\"";
/// For a step of preparation.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);

/// What goes into a machine before the first run.
#[derive(Clone, Debug)]
pub struct Outfit {
    /// The load generator's program.
    pub generator: &'static [u8],
    /// The directory in the machine where everything is put, and in which everything runs.
    pub directory: String,
    /// Files to put there.
    pub files: Vec<Upload>,
    /// Programs that run beside the target, started in this order.
    pub services: Vec<ServiceSpec>,
}

/// A file of this host that is put into a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Here.
    pub source: PathBuf,
    /// There: from the directory of the outfit, unless it is absolute.
    pub path: String,
    /// Its permission bits there.
    pub mode: u32,
}

/// What a site is made with.
pub(super) struct Ground<'a> {
    pub(super) hypervisor: &'a dyn Hypervisor,
    pub(super) template: &'a MachineSpec,
    pub(super) outfit: &'a Outfit,
    pub(super) location: Location,
    pub(super) run_dir: &'a RunDir,
    pub(super) memory_bytes: Option<u64>,
    pub(super) observer: Option<&'a dyn Observer>,
    pub(super) progress: &'a dyn Progress,
    pub(super) interrupt: &'a dyn Interrupt,
}

/// A machine in which runs can take place.
pub(super) struct Site<'a> {
    // Fields are dropped in this order: what runs in the machine before it, and its cgroup after it.
    services: Vec<Service>,
    machine: Box<dyn Machine>,
    cap: Cap,
    ground: &'a Ground<'a>,
    pub(super) guest: Arc<dyn GuestLink>,
    pub(super) vcpus: u32,
    oom_kills: Option<u64>,
}

impl<'a> Site<'a> {
    /// Makes a machine of this size ready; what that took, taken apart, comes back beside it.
    pub(super) fn open(ground: &'a Ground<'a>, vcpus: u32, number: u32) -> (Trial, Result<Self>) {
        let name = format!("sweep-{number}");
        let labels =
            BTreeMap::from([("machine".to_owned(), name.clone()), ("vcpus".to_owned(), vcpus.to_string())]);
        let mut watch = Stopwatch::start();
        let mut step = "create";
        match Self::make(ground, vcpus, name, &mut watch, &mut step) {
            Ok(site) => (Trial::success(watch, labels), Ok(site)),
            Err(error) => (Trial::failure(watch, labels, step, &error), Err(error)),
        }
    }

    fn make(
        ground: &'a Ground<'a>,
        vcpus: u32,
        name: String,
        watch: &mut Stopwatch,
        step: &mut &'static str,
    ) -> Result<Self> {
        let spec = MachineSpec { name, vcpus, ..ground.template.clone() };
        let called = Instant::now();
        let (mut machine, timeline) = ground.hypervisor.create(&spec)?;
        watch.append(timeline, called);
        if let Some(observer) = ground.observer {
            observer.created(machine.as_ref());
        }
        *step = "start";
        let called = Instant::now();
        let timeline = machine.start()?;
        watch.append(timeline, called);
        if let Some(observer) = ground.observer {
            observer.running(machine.as_ref());
        }
        let guest = machine.guest()?;
        let cap = match ground.location {
            Location::Native => Cap::new(ground.run_dir, &spec.name, vcpus, ground.memory_bytes),
            Location::Service | Location::Vm => Cap::none(),
        };
        let mut site = Self { services: Vec::new(), machine, cap, ground, guest, vcpus, oom_kills: None };
        *step = "upload";
        let explained = site.put_all();
        explained.map_err(|error| site.explain(error))?;
        watch.mark("upload");
        *step = "service";
        let started = site.start_services();
        started.map_err(|error| site.explain(error))?;
        watch.mark("service");
        site.oom_kills = site.count_oom_kills();
        Ok(site)
    }

    fn put_all(&self) -> Result<()> {
        let outfit = self.ground.outfit;
        let script = if self.ground.location == Location::Vm { PREPARE_VM } else { PREPARE_NATIVE };
        let mut command = Command::argv(["/bin/sh", "-c", script, "sh", &outfit.directory]);
        command.timeout = Some(PREPARE_TIMEOUT);
        let output = self.guest.exec(&command)?;
        if !output.success() {
            return Err(self.refused("prepare the directory of the sweep", &output));
        }
        let mut bytes = Cursor::new(outfit.generator);
        self.put(&mut bytes, outfit.generator.len() as u64, GENERATOR, 0o755)?;
        for upload in &outfit.files {
            let action = || Error::io(format!("read {}", upload.source.display()));
            let mut file = File::open(&upload.source).map_err(action())?;
            let size = file.metadata().map_err(action())?.len();
            self.put(&mut file, size, &upload.path, upload.mode)?;
        }
        Ok(())
    }

    fn put(&self, source: &mut dyn Read, size: u64, path: &str, mode: u32) -> Result<()> {
        let path = self.path(path);
        if let Some((directory, _)) = path.rsplit_once('/').filter(|(directory, _)| !directory.is_empty())
            && directory != self.ground.outfit.directory
        {
            let mut command = Command::argv(["/bin/sh", "-c", PREPARE_NATIVE, "sh", directory]);
            command.timeout = Some(PREPARE_TIMEOUT);
            let output = self.guest.exec(&command)?;
            if !output.success() {
                return Err(self.refused("make a directory for an uploaded file", &output));
            }
        }
        self.guest.put(source, size, &path, mode)
    }

    fn path(&self, path: &str) -> String {
        if path.starts_with('/') { path.into() } else { format!("{}/{path}", self.ground.outfit.directory) }
    }

    fn refused(&self, request: &str, output: &ExecOutput) -> Error {
        Error::AgentRefused {
            machine: self.machine.name().into(),
            request: request.into(),
            reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    }

    fn start_services(&mut self) -> Result<()> {
        for spec in &self.ground.outfit.services {
            let service = self.start_service(spec)?;
            self.services.push(service);
        }
        Ok(())
    }

    fn start_service(&self, spec: &ServiceSpec) -> Result<Service> {
        let (directory, name) = (&self.ground.outfit.directory, self.machine.name());
        Service::start(&self.guest, spec, directory, &self.cap, name, self.ground.interrupt)
    }

    /// What became of services that have ended; each is started again.
    pub(super) fn revive_services(&mut self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for index in 0..self.services.len() {
            let Some(end) = self.services[index].ended() else { continue };
            ended.push(end);
            let spec = self.services[index].spec().clone();
            self.services[index] = self.start_service(&spec)?;
        }
        Ok(ended)
    }

    /// The services that have ended, in words.
    pub(super) fn ended_services(&self) -> Vec<String> {
        self.services.iter().filter_map(Service::ended).collect()
    }

    /// The command of the generator, with its job in place.
    pub(super) fn generator(&self, job: &[u8]) -> Result<Command> {
        // A file, since the end of its standard input would end the run.
        let path = self.path(JOB);
        self.guest.put(&mut Cursor::new(job), job.len() as u64, &path, 0o644)?;
        let mut command = Command::argv(self.cap.around(vec![self.path(GENERATOR), path]));
        command.cwd = Some(self.ground.outfit.directory.clone());
        Ok(command)
    }

    /// The most memory that the process of the last service ever had, in KiB.
    pub(super) fn service_rss_kib(&self) -> Option<u64> {
        self.services.last()?.peak_rss_kib(&self.guest)
    }

    /// How often the kernel killed for want of memory since the last time this was asked.
    pub(super) fn new_oom_kills(&mut self) -> u64 {
        let now = self.count_oom_kills();
        let before = std::mem::replace(&mut self.oom_kills, now);
        now.unwrap_or(0).saturating_sub(before.unwrap_or(0))
    }

    fn count_oom_kills(&self) -> Option<u64> {
        if self.ground.location == Location::Native {
            return self.cap.oom_kills();
        }
        let table = service::text(&self.guest, "/proc/vmstat")?;
        table.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// What a reader has to know of everything that is measured here.
    pub(super) fn warnings(&self) -> &[String] {
        &self.cap.warnings
    }

    /// The machine's own reason for an error of its guest, where it has one.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.machine.explain(error)
    }

    /// The end of its console.
    pub(super) fn console_tail(&self) -> String {
        self.machine.console_tail()
    }

    /// Ends the machine and all that is in it.
    pub(super) fn close(mut self) {
        self.services.clear();
        // A failure is told, and is none of the runs'.
        let _ = end(self.machine.as_mut(), self.ground.observer, self.ground.progress);
    }
}
