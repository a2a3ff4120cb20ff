//! What the host is, read from `/proc`, `/sys` and `/etc`. What cannot be read is absent.

mod cgroup;
mod cost;
mod cpu;
mod platform;

use std::path::Path;

use virtmark_model::HostFacts;

pub(crate) use cgroup::{Cgroups, Chain};
pub(crate) use cost::{CpuTicks, cpu_ticks};
pub use cost::{harness_cost, steal_ns};
pub(crate) use cpu::{Cpu, usable_cpus};
pub(crate) use platform::{bracketed, governor, hypervisor, smt};

use crate::memory::meminfo_bytes;
use crate::source::Source;

/// Facts of the host that this process runs on.
pub fn host_facts() -> HostFacts {
    host_facts_in(Path::new("/"))
}

/// Facts of the host whose `proc`, `sys` and `etc` are under this directory.
pub fn host_facts_in(root: &Path) -> HostFacts {
    let source = Source::new(root);
    let cpu = Cpu::read(&source);
    HostFacts {
        arch: source.text("proc/sys/kernel/arch").unwrap_or_else(uname_machine),
        boot_id: source.text("proc/sys/kernel/random/boot_id"),
        cgroup: Cgroups::read(&source).limits(),
        governor: governor(&source),
        host_hypervisor: hypervisor(&source, &cpu),
        huge_pages_total: platform::huge_pages_total(&source),
        kernel: source.text("proc/sys/kernel/osrelease").unwrap_or_default(),
        load_average_1m: load_average_in(&source).map(|[one, _, _]| one),
        logical_cpus: usable_cpus(&source, &cpu),
        memory_total_bytes: meminfo_bytes(&source, "MemTotal").unwrap_or_default(),
        os: platform::os_name(&source),
        smt: smt(&source),
        transparent_huge_pages: platform::transparent_huge_pages(&source),
        cpu_flags: cpu.flags,
        cpu_model: cpu.model,
    }
}

/// Load averages over 1, 5 and 15 minutes.
pub fn load_average() -> Option<[f64; 3]> {
    load_average_in(&Source::new(Path::new("/")))
}

/// Names this boot of the host (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> Option<String> {
    Source::new(Path::new("/")).text("proc/sys/kernel/random/boot_id")
}

pub(crate) fn load_average_in(source: &Source) -> Option<[f64; 3]> {
    let text = source.text("proc/loadavg")?;
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

/// `/proc/sys/kernel/arch` came with Linux 6.1.
fn uname_machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}
