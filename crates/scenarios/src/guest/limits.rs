//! What the host's side may use: as many CPUs and as much memory as the guest has.

use std::time::Instant;

use virtmark_host::cgroup::MachineCgroup;
use virtmark_host::cpus;
use virtmark_model::{Outcome, Unit};

use super::side::Bench;
use crate::Result;
use crate::recorder::Recorder;

/// The limits of the host's side.
#[derive(Debug)]
pub struct HostLimits {
    /// As many CPUs of those that this process may use as the guest has virtual ones.
    pub cpus: Vec<usize>,
    /// CPUs for the other end of a network; the same where there are no others.
    pub server_cpus: Vec<usize>,
    /// A cgroup with the guest's memory as its limit; why there is none.
    pub memory: Result<MachineCgroup, String>,
}

impl HostLimits {
    /// Takes the first of these CPUs, for a guest of so many virtual ones.
    pub fn new(allowed: &[usize], vcpus: u32, memory: Result<MachineCgroup, String>) -> Self {
        let wanted = vcpus as usize;
        let cpus: Vec<usize> = allowed.iter().copied().take(wanted).collect();
        let others: Vec<usize> = allowed.iter().copied().skip(wanted).take(wanted).collect();
        let server_cpus = if others.len() == wanted { others } else { cpus.clone() };
        Self { cpus, server_cpus, memory }
    }

    /// Takes the first of the CPUs that this process may use.
    pub fn of_this_process(vcpus: u32, memory: Result<MachineCgroup, String>) -> Self {
        Self::new(&cpus::allowed().unwrap_or_default(), vcpus, memory)
    }

    /// Puts the host's agent under the limits, which all that it starts then has too; and keeps what came of it.
    pub(super) fn apply(&self, bench: &Bench<'_>, recorder: &Recorder<'_>) -> Result<()> {
        let started = Instant::now();
        // The shell's parent is the agent.
        let pin = format!("taskset -a -c -p {} $PPID", cpus::list(&self.cpus));
        let pinned = match bench.told(&pin) {
            Some(_) => Outcome::Success { value: self.cpus.len() as f64 },
            None => Outcome::Skipped { reason: "taskset (util-linux) did not pin the host's side".into() },
        };
        let labels = [("cpus".to_owned(), cpus::list(&self.cpus))].into();
        recorder.keep("host_cpus", Unit::Count, started, pinned, Vec::new(), labels)?;

        let started = Instant::now();
        let adopted = self.memory.as_ref().map_err(Clone::clone).and_then(|cgroup| {
            let pid = bench.told("echo $PPID").and_then(|pid| pid.parse().ok());
            let pid = pid.ok_or("the host's agent did not tell its process id")?;
            cgroup.adopt(pid).map_err(|error| error.to_string())?;
            Ok(cgroup.limits().memory_bytes)
        });
        let limited = match adopted {
            Ok(bytes) => Outcome::Success { value: bytes as f64 },
            Err(reason) => {
                Outcome::Skipped { reason: format!("memory of the host's side is not limited: {reason}") }
            }
        };
        recorder.keep("host_memory_limit", Unit::Bytes, started, limited, Vec::new(), Default::default())
    }

    /// Where the host's end of a network serves, as `taskset -c` takes it.
    pub(super) fn server_list(&self) -> Option<String> {
        (!self.server_cpus.is_empty()).then(|| cpus::list(&self.server_cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_as_many_cpus_as_the_guest_and_the_server_others_where_there_are_any() {
        let limits = |allowed: &[usize], vcpus| {
            let limits = HostLimits::new(allowed, vcpus, Err("no".into()));
            (limits.cpus, limits.server_cpus)
        };
        assert_eq!(limits(&[3, 5, 8, 9], 2), (vec![3, 5], vec![8, 9]));
        assert_eq!(limits(&[0, 1, 2], 2), (vec![0, 1], vec![0, 1]));
        assert_eq!(limits(&[0, 1], 4), (vec![0, 1], vec![0, 1]));
    }
}
