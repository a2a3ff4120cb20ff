//! What two runs may not differ in, unless that is what they are compared for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use virtmark_model::{Environment, Run};

/// Something that makes two runs results of different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// What executes guest code: KVM, software emulation.
    Accelerator,
    /// What was asked for: a command, kernel arguments, a pace.
    Configuration,
    /// Whether something below is emulated: nested machines, an emulated host.
    Emulation,
    /// The host: CPU, number of CPUs, memory, what it runs in.
    Host,
    /// The platform: QEMU, the bare host, a service.
    Hypervisor,
    /// The image, apart from its kernel.
    Image,
    /// The kernel of the guest.
    Kernel,
    /// The size of the machine: virtual CPUs, memory.
    Size,
}

/// One difference, and what each run has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// Which.
    pub difference: Difference,
    /// What exactly.
    pub what: String,
    /// In run A.
    pub a: String,
    /// In run B.
    pub b: String,
}

impl Difference {
    /// All of them, alphabetically.
    pub const ALL: [Self; 8] = [
        Self::Accelerator,
        Self::Configuration,
        Self::Emulation,
        Self::Host,
        Self::Hypervisor,
        Self::Image,
        Self::Kernel,
        Self::Size,
    ];

    /// The name by which it is allowed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accelerator => "accelerator",
            Self::Configuration => "configuration",
            Self::Emulation => "emulation",
            Self::Host => "host",
            Self::Hypervisor => "hypervisor",
            Self::Image => "image",
            Self::Kernel => "kernel",
            Self::Size => "size",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A name that is no difference.
#[derive(Debug, Error)]
#[error("unknown difference {0:?}")]
pub struct UnknownDifference(pub String);

impl FromStr for Difference {
    type Err = UnknownDifference;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|difference| difference.as_str() == name)
            .ok_or_else(|| UnknownDifference(name.into()))
    }
}

/// Options in the configuration of a run that say nothing of what was measured: they stand elsewhere in the record, decide
/// how much is measured, or tell where the run belongs.
pub const BESIDE_THE_WORK: [&str; 16] = [
    "accel",
    "command_line",
    "hypervisor",
    "image",
    "interleaved",
    "iterations",
    "kernel",
    "left_out",
    "modules",
    "qemu",
    "record",
    "record_interval_ns",
    "suite",
    "timeout_ns",
    "warmup",
    "working_set_iterations",
];
/// The size of machines, which is a difference of its own.
const SIZE: [(&str, &str); 2] = [("vcpus", "virtual CPUs"), ("memory_bytes", "memory of the machine")];

/// Everything that the two runs differ in.
pub fn between(a: &Run, b: &Run) -> Vec<Differing> {
    let mut found = Vec::new();
    let (left, right) = (&a.environment, &b.environment);
    let mut note = |difference, what: &str, of: &dyn Fn(&Environment) -> String| {
        let (a, b) = (of(left), of(right));
        if a != b {
            found.push(Differing { difference, what: what.into(), a, b });
        }
    };
    note(Difference::Hypervisor, "hypervisor", &|of| of.hypervisor.name.clone());
    note(Difference::Accelerator, "accelerator", &|of| text(of.hypervisor.accelerator.as_ref()));
    note(Difference::Emulation, "nested in emulation", &|of| of.hypervisor.nested_in_emulation.to_string());
    note(Difference::Emulation, "emulated host", &|of| of.host.is_emulated().to_string());
    note(Difference::Host, "architecture", &|of| of.host.arch.clone());
    note(Difference::Host, "CPU", &|of| of.host.cpu_model.clone());
    note(Difference::Host, "CPUs", &|of| of.host.logical_cpus.to_string());
    note(Difference::Host, "memory of the host", &|of| of.host.memory_total_bytes.to_string());
    note(Difference::Host, "hypervisor of the host", &|of| text(of.host.host_hypervisor.as_ref()));
    note(Difference::Image, "image", &|of| text(of.image.as_ref().map(|image| &image.name)));
    note(Difference::Image, "initramfs", &|of| {
        text(of.image.as_ref().and_then(|image| image.initramfs_sha256.as_ref()))
    });
    note(Difference::Kernel, "kernel", &|of| text(of.image.as_ref().map(|image| &image.kernel_sha256)));
    for (key, what) in SIZE {
        option(&mut found, (Difference::Size, key, what), a, b);
    }
    let keys = |run: &Run| run.configuration.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
    let keys: BTreeSet<String> = [keys(a), keys(b)].into_iter().flatten().flatten().collect();
    let is_option = |key: &str| !BESIDE_THE_WORK.contains(&key) && SIZE.iter().all(|(size, _)| *size != key);
    for key in keys.iter().filter(|key| is_option(key)) {
        option(&mut found, (Difference::Configuration, key, key), a, b);
    }
    found
}

fn option(found: &mut Vec<Differing>, (difference, key, what): (Difference, &str, &str), a: &Run, b: &Run) {
    let of = |run: &Run| run.configuration.get(key).cloned().unwrap_or(Value::Null);
    let (a, b) = (of(a), of(b));
    if a != b {
        found.push(Differing { difference, what: what.into(), a: a.to_string(), b: b.to_string() });
    }
}

fn text(value: Option<&impl ToString>) -> String {
    value.map_or_else(|| "none".into(), ToString::to_string)
}
