//! Holding a target on the bare host to the size of a machine.

use std::path::Path;

use virtmark_host::cgroup::{Limits, MachineCgroup};
use virtmark_host::cpus;
use virtmark_host::rundir::RunDir;

/// Processes and threads of the target and the generator together; as many as a small guest would have.
const TASKS: u32 = 16_384;
/// Moves itself into the cgroups that are named before `--`, and becomes what comes after.
const ENTER: &str =
    "while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit 126; shift; done; shift; exec \"$@\"";

/// How a target on the bare host is held to a size. Dropping it removes the cgroup.
#[derive(Debug)]
pub(super) struct Cap {
    cgroup: Option<MachineCgroup>,
    /// Pins what comes after it to a number of CPUs.
    pin: Vec<String>,
    /// What it cannot hold to.
    pub(super) warnings: Vec<String>,
}

impl Cap {
    /// Holds nothing: a machine has its size.
    pub(super) fn none() -> Self {
        Self { cgroup: None, pin: Vec::new(), warnings: Vec::new() }
    }

    /// As far as this host permits: a cgroup, otherwise CPU affinity, and words for what is left open.
    pub(super) fn new(run_dir: &RunDir, name: &str, vcpus: u32, memory_bytes: Option<u64>) -> Self {
        let mut cap = Self::none();
        // No host has as much, so that nothing is held to it.
        let limits = Limits { cpus: vcpus, memory_bytes: memory_bytes.unwrap_or(1 << 50), tasks: TASKS };
        let made = run_dir.cgroups().map_err(str::to_owned).and_then(|cgroups| {
            let made = cgroups.machine(name, limits).map_err(|error| error.to_string())?;
            Ok((made, cgroups.controllers()))
        });
        let mut held = Vec::new();
        match made {
            Ok((cgroup, controllers)) => {
                held = controllers;
                cap.cgroup = Some(cgroup);
            }
            Err(reason) => cap.warnings.push(format!("no cgroup holds the target: {reason}")),
        }
        if !held.contains(&"cpu") {
            match pin_to(vcpus) {
                Some(pin) => {
                    cap.warnings.push(format!("the target is held to {vcpus} CPUs by affinity alone"));
                    cap.pin = pin;
                }
                None => cap.warnings.push("the target may use every CPU of this host".into()),
            }
        }
        if memory_bytes.is_some() && !held.contains(&"memory") {
            cap.warnings.push("the target may use all memory of this host".into());
        }
        cap
    }

    /// The command that runs `argv` so. The process keeps its number.
    pub(super) fn around(&self, argv: Vec<String>) -> Vec<String> {
        let mut command = Vec::new();
        if let Some(cgroup) = &self.cgroup {
            command.extend(["/bin/sh", "-c", ENTER, "sh"].map(str::to_owned));
            command.extend(cgroup.directories().iter().map(|directory| directory.display().to_string()));
            command.push("--".into());
        }
        command.extend(self.pin.iter().cloned());
        command.extend(argv);
        command
    }

    /// How often the kernel killed for want of memory under this cap; none where no cgroup counts it.
    pub(super) fn oom_kills(&self) -> Option<u64> {
        self.cgroup.as_ref()?.oom_kills()
    }
}

/// Pins to the first `count` CPUs that this process may use, where util-linux is installed.
fn pin_to(count: u32) -> Option<Vec<String>> {
    let program = ["/usr/bin/taskset", "/bin/taskset"].into_iter().find(|path| Path::new(path).is_file())?;
    let cpus: Vec<usize> = cpus::allowed()?.into_iter().take(count as usize).collect();
    Some(vec![program.into(), "-c".into(), cpus::list(&cpus)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_of_nothing_changes_no_command() {
        let argv = vec!["a".to_owned(), "b c".to_owned()];
        assert_eq!(Cap::none().around(argv.clone()), argv);
    }

    #[test]
    fn whatever_the_host_permits_the_command_runs_and_the_cap_says_what_it_lacks() {
        let run_dir = RunDir::create().unwrap();
        let cap = Cap::new(&run_dir, "cap", 1, Some(256 << 20));
        let argv = ["/bin/sh", "-c", "echo \"$0\"; cat /proc/self/cgroup", "two words"].map(str::to_owned);
        let argv = cap.around(argv.to_vec());
        let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("two words\n"), "{text} {output:?}");
        assert_eq!(text.contains("virtmark-"), cap.cgroup.is_some(), "{text}");
        assert!(cap.cgroup.is_some() || cap.warnings[0].contains("no cgroup"), "{:?}", cap.warnings);
    }
}
