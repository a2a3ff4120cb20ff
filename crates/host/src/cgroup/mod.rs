//! Cgroups of machines: one for each, with limits, below one of the run.
//!
//! ```text
//! v1   <own cgroup>/virtmark-<run>/<machine>          in each hierarchy of cpu, memory and pids
//! v2   <own cgroup>/virtmark-<run>/<machine>          where the own cgroup hands down controllers
//!      <cgroup above>/virtmark-<run>/<machine>        else, beside the own cgroup
//! ```
//!
//! In v2 a cgroup with processes in it hands down no controllers, unless it is the root ("no internal processes" in
//! the kernel's `cgroup-v2.rst`), and virtmark's own has at least virtmark in it. It moves neither itself nor others.
//!
//! The run's cgroups are on record in its directory before they are made, so that the next start removes them when it
//! was killed.

mod parent;
mod remove;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use remove::remove_tree;

use crate::facts::Cgroups;
use crate::source::Source;
use parent::{Controller, Parent, parents};

/// Length of the interval over which CPU time is limited, in microseconds; the kernel's default.
const PERIOD_US: u64 = 100_000;

/// What one thread weighs, and the most that a cgroup can: without this, a machine would weigh as much as one thread of
/// another program.
const V1_WEIGHT: u64 = 1024;
const V1_MAX_WEIGHT: u64 = 1 << 18;
const V2_WEIGHT: u64 = 100;
const V2_MAX_WEIGHT: u64 = 10_000;

/// What the processes of one machine may use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPUs, kept on average over 100 ms. Where others want the CPUs too, it has the weight of as many busy threads.
    pub cpus: u32,
    /// Memory in bytes: anonymous, shared and kernel memory, and file cache that cannot be dropped.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub tasks: u32,
}

/// The cgroups of one run, with those of its machines in them; dropping it removes those that are empty.
#[derive(Debug)]
pub struct RunCgroups {
    hierarchies: Vec<Parent>,
}

/// The cgroup of one machine, in one hierarchy or several; dropping it removes it, if nothing is left in it.
#[derive(Debug)]
pub struct MachineCgroup {
    directories: Vec<PathBuf>,
    memory: Option<PathBuf>,
    limits: Limits,
}

impl RunCgroups {
    /// Makes those of the run `id`, as many as this process may; `record` is told each path before it is made. When
    /// there are none, the error says why.
    pub(crate) fn make(
        source: &Source,
        id: &str,
        mut record: impl FnMut(&Path) -> io::Result<()>,
    ) -> Result<Self, String> {
        let parents = parents(&Cgroups::read(source), source)?;
        let mut problem = None;
        let mut make = |parent: Parent| {
            let directory = parent.directory.join(name(id));
            let made = record(&directory).and_then(|()| make_run_cgroup(&directory, &parent));
            match made {
                Ok(()) => Some(Parent { directory, ..parent }),
                Err(error) => {
                    problem = Some(format!("cannot make {}: {error}", directory.display()));
                    None
                }
            }
        };
        let hierarchies: Vec<Parent> = parents.into_iter().filter_map(&mut make).collect();
        match (hierarchies.is_empty(), problem) {
            (true, problem) => Err(problem.unwrap_or_else(|| "there is no hierarchy of cgroups".into())),
            (false, _) => Ok(Self { hierarchies }),
        }
    }

    /// The controllers that limit machines, of `cpu`, `memory` and `pids`.
    pub fn controllers(&self) -> Vec<&'static str> {
        let controllers = self.hierarchies.iter().flat_map(|hierarchy| &hierarchy.controllers);
        let mut names: Vec<_> = controllers.map(|controller| controller.name()).collect();
        names.sort_unstable();
        names
    }

    /// 1 or 2.
    pub fn version(&self) -> u8 {
        if self.hierarchies.iter().any(|hierarchy| hierarchy.is_v2) { 2 } else { 1 }
    }

    /// Makes the cgroup of a machine. The name is one path component, not in use.
    pub fn machine(&self, name: &str, limits: Limits) -> io::Result<MachineCgroup> {
        let mut machine = MachineCgroup { directories: Vec::new(), memory: None, limits };
        for hierarchy in &self.hierarchies {
            let directory = hierarchy.directory.join(name);
            fs::create_dir(&directory)?;
            machine.directories.push(directory.clone());
            for controller in &hierarchy.controllers {
                limit(&directory, *controller, hierarchy.is_v2, limits)?;
                if *controller == Controller::Memory {
                    machine.memory = Some(directory.join(if hierarchy.is_v2 {
                        "memory.events"
                    } else {
                        "memory.oom_control"
                    }));
                }
            }
        }
        Ok(machine)
    }
}

impl Drop for RunCgroups {
    fn drop(&mut self) {
        for hierarchy in &self.hierarchies {
            // Most often gone by now, with the run's directory. Should that have been removed by others, this is the last chance.
            let _ = remove_tree(&hierarchy.directory);
        }
    }
}

impl MachineCgroup {
    /// Moves a process into it, with all its threads. What it had used before stays counted where it was.
    ///
    /// Takes up to some 10 ms, in which the kernel waits for all CPUs to pass a quiet state.
    pub fn adopt(&self, pid: i32) -> io::Result<()> {
        self.directories
            .iter()
            .try_for_each(|directory| write(&directory.join("cgroup.procs"), &pid.to_string()))
    }

    /// Its directories, one a hierarchy.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// What it may use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// How many of its processes were killed because its memory was at the limit; `None` where memory is not limited.
    pub fn oom_kills(&self) -> Option<u64> {
        let text = fs::read_to_string(self.memory.as_ref()?).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// Removes it, waiting a moment for processes that are just ending.
    pub fn remove(mut self) -> io::Result<()> {
        std::mem::take(&mut self.directories).iter().try_for_each(|directory| remove_tree(directory))
    }
}

impl Drop for MachineCgroup {
    fn drop(&mut self) {
        for directory in &self.directories {
            // What stays is removed with the run's.
            let _ = remove_tree(directory);
        }
    }
}

/// What a run's cgroup is called.
pub(crate) fn name(run: &str) -> String {
    format!("virtmark-{run}")
}

fn make_run_cgroup(directory: &Path, parent: &Parent) -> io::Result<()> {
    fs::create_dir(directory)?;
    if !parent.is_v2 {
        return Ok(());
    }
    let hand_down = parent.controllers.iter().map(|controller| format!("+{}", controller.name()));
    let hand_down = hand_down.collect::<Vec<_>>().join(" ");
    write(&directory.join("cgroup.subtree_control"), &hand_down).inspect_err(|_| {
        // The first error is the one that matters.
        let _ = remove_tree(directory);
    })
}

fn limit(directory: &Path, controller: Controller, is_v2: bool, limits: Limits) -> io::Result<()> {
    let Limits { cpus, memory_bytes, tasks } = limits;
    let quota_us = u64::from(cpus) * PERIOD_US;
    let set = |file: &str, value: String| write(&directory.join(file), &value);
    match (controller, is_v2) {
        (Controller::Cpu, true) => {
            set("cpu.weight", (u64::from(cpus) * V2_WEIGHT).clamp(1, V2_MAX_WEIGHT).to_string())?;
            set("cpu.max", format!("{quota_us} {PERIOD_US}"))
        }
        (Controller::Cpu, false) => {
            set("cpu.shares", (u64::from(cpus) * V1_WEIGHT).clamp(2, V1_MAX_WEIGHT).to_string())?;
            set("cpu.cfs_period_us", PERIOD_US.to_string())?;
            set("cpu.cfs_quota_us", quota_us.to_string()).or_else(|error| {
                // v1 refuses more than a cgroup above has, and that limits this one already.
                if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) }
            })
        }
        (Controller::Memory, true) => set("memory.max", memory_bytes.to_string()),
        (Controller::Memory, false) => set("memory.limit_in_bytes", memory_bytes.to_string()),
        (Controller::Pids, _) => set("pids.max", tasks.to_string()),
    }
}

/// One write, as the kernel takes each for a whole value.
fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write {value:?} to {}: {error}", file.display()))
    })
}

#[cfg(test)]
mod tests;
