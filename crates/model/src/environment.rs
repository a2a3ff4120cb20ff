//! Everything a figure depends on, on record beside it. What could not be read is absent, never guessed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::MachineFacts;

/// What a run ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The machine that virtmark ran on.
    pub host: HostFacts,
    /// The platform that ran the guests.
    pub hypervisor: HypervisorFacts,
    /// What the guests booted; absent where there was no image.
    pub image: Option<ImageFacts>,
    /// virtmark itself.
    pub virtmark: ProgramFacts,
    /// CPU time that the host's own hypervisor took away during the run, over all CPUs, in nanoseconds.
    pub steal_ns: Option<u64>,
    /// What measuring cost; absent until the run has ended.
    pub harness: Option<HarnessCost>,
}

/// Words with which [`HostFacts::host_hypervisor`] begins where QEMU emulates the host.
pub const EMULATED_HOST: &str = "QEMU TCG";

/// The host's hardware, kernel and limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Machine architecture, as in `uname -m`.
    pub arch: String,
    /// Names this boot of the host.
    pub boot_id: Option<String>,
    /// Limits of the cgroup that virtmark ran in.
    pub cgroup: CgroupLimits,
    /// CPU feature flags as the kernel lists them.
    pub cpu_flags: Vec<String>,
    /// CPU model name.
    pub cpu_model: String,
    /// Frequency governor of CPU 0; absent where frequency is not the host's to set.
    pub governor: Option<String>,
    /// The hypervisor this host itself runs in; absent on bare metal and where it cannot be told.
    pub host_hypervisor: Option<String>,
    /// Reserved huge pages, of the default size.
    pub huge_pages_total: Option<u64>,
    /// Kernel release, as in `uname -r`.
    pub kernel: String,
    /// 1-minute load average when the run started.
    pub load_average_1m: Option<f64>,
    /// CPUs that virtmark may run on.
    pub logical_cpus: u32,
    /// Memory in total, in bytes.
    pub memory_total_bytes: u64,
    /// Distribution, as in `PRETTY_NAME` of os-release.
    pub os: Option<String>,
    /// Whether simultaneous multithreading is on.
    pub smt: Option<bool>,
    /// Setting of transparent huge pages.
    pub transparent_huge_pages: Option<String>,
}

impl HostFacts {
    /// Whether the host's own instructions are emulated in software.
    pub fn is_emulated(&self) -> bool {
        self.host_hypervisor.as_deref().is_some_and(|name| name.starts_with(EMULATED_HOST))
    }
}

/// Limits of a cgroup; absent where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupLimits {
    /// CPUs' worth of time it may use (quota ÷ period).
    pub cpus: Option<f64>,
    /// CPUs it may run on, as the kernel lists them (`0-1`).
    pub cpuset: Option<String>,
    /// Bytes of memory it may use.
    pub memory_bytes: Option<u64>,
    /// Hierarchy version: 1 or 2.
    pub version: Option<u8>,
}

/// The platform that ran the guests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HypervisorFacts {
    /// `qemu`, `native`, …
    pub name: String,
    /// As the platform says it.
    pub version: String,
    /// What executes guest code; absent where there is no guest (`native`).
    pub accelerator: Option<Accelerator>,
    /// Why this accelerator, in one line.
    pub accelerator_reason: Option<String>,
    /// What else decides its speed: machine type, start path.
    pub configuration: Option<String>,
    /// How its machines are made; absent where the platform does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineFacts>,
    /// Whether the accelerator's own host is emulated in software: KVM in the lab.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nested_in_emulation: bool,
}

impl HypervisorFacts {
    /// Whether guest code ran in software emulation, which is said wherever a figure is shown.
    pub fn is_emulated(&self) -> bool {
        self.accelerator == Some(Accelerator::Tcg) || self.nested_in_emulation
    }

    /// What executes guest code, in words: `kvm`, `kvm, nested in emulation`, `tcg (software emulation)`, or nothing
    /// where there is no guest.
    pub fn execution(&self) -> Option<String> {
        let accelerator = self.accelerator?;
        Some(match (accelerator, self.nested_in_emulation) {
            (_, true) => format!("{accelerator}, nested in emulation"),
            (Accelerator::Tcg, false) => format!("{accelerator} (software emulation)"),
            (Accelerator::Kvm, false) => accelerator.to_string(),
        })
    }
}

/// What executes guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// Hardware virtualisation through Linux KVM.
    Kvm,
    /// QEMU's software emulation.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// What the guests booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFacts {
    /// Content hash of the whole image.
    pub id: String,
    /// `tiny`, `bench`, …
    pub name: String,
    /// SHA-256 of the kernel file.
    pub kernel_sha256: String,
    /// SHA-256 of the initramfs.
    pub initramfs_sha256: Option<String>,
    /// Kernel release of the guest.
    pub kernel_release: Option<String>,
}

/// virtmark itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgramFacts {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from; absent when built outside a checkout.
    pub commit: Option<String>,
}

/// What measuring cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HarnessCost {
    /// CPU time of virtmark itself, machines not counted, in nanoseconds.
    pub cpu_ns: u64,
    /// Largest resident set of virtmark itself, in bytes.
    pub max_rss_bytes: u64,
    /// Iterations that cost covers, warm-ups included.
    pub iterations: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_older_version_reads_with_what_it_has() {
        let environment: Environment =
            serde_json::from_str(r#"{"host": {"cpu_model": "X", "unheard_of": 1}}"#).unwrap();
        assert_eq!(environment.host.cpu_model, "X");
        assert_eq!(environment.image, None);
    }

    #[test]
    fn emulation_is_told_from_the_accelerator() {
        let mut facts = HypervisorFacts { accelerator: Some(Accelerator::Tcg), ..Default::default() };
        assert!(facts.is_emulated());
        facts.accelerator = Some(Accelerator::Kvm);
        assert!(!facts.is_emulated());
        assert_eq!(facts.execution().as_deref(), Some("kvm"));
        facts.nested_in_emulation = true;
        assert!(facts.is_emulated());
        assert_eq!(facts.execution().as_deref(), Some("kvm, nested in emulation"));
        let host = |name: &str| HostFacts { host_hypervisor: Some(name.into()), ..Default::default() };
        assert!(host("QEMU TCG (Standard PC)").is_emulated() && !host("KVM").is_emulated());
    }
}
