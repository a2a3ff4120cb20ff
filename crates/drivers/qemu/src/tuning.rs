//! Settings that are known to make some machines faster, and are off unless somebody asks: each can be tried against
//! machines as they are.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use virtmark_hypervisor::MachineSpec;
use virtmark_model::Accelerator;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Every feature that the emulated CPU can have, instead of a plain one. Under KVM machines have the host's CPU anyway.
    CpuMax,
    /// Guest memory in the host's reserved huge pages.
    HugePages,
    /// A thread of its own for the requests of disks.
    IoThread,
}

impl Remedy {
    /// All of them, alphabetically.
    pub const ALL: [Self; 3] = [Self::CpuMax, Self::HugePages, Self::IoThread];

    /// The name by which it is asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CpuMax => "cpu-max",
            Self::HugePages => "hugepages",
            Self::IoThread => "iothread",
        }
    }

    /// Why it cannot be had for such machines on this host, or would change nothing.
    pub(crate) fn why_not(self, accelerator: Accelerator, spec: &MachineSpec) -> Option<String> {
        match self {
            Self::CpuMax => (accelerator == Accelerator::Kvm)
                .then(|| "machines have the CPU of the host under KVM, which is all there is".into()),
            Self::HugePages if spec.snapshots => {
                Some("memory of machines that are snapshotted is in a file".into())
            }
            Self::HugePages => {
                let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
                too_few_pages(&meminfo, spec.memory_bytes)
            }
            Self::IoThread => {
                let has_root = spec.image.as_ref().is_some_and(|image| image.root.is_some());
                (spec.disks.is_empty() && !has_root)
                    .then(|| "the machine has no disk (the image bench has one)".into())
            }
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A name that is no remedy.
#[derive(Debug, Error)]
#[error("unknown remedy {0:?}: expected cpu-max, hugepages or iothread")]
pub struct UnknownRemedy(pub String);

impl FromStr for Remedy {
    type Err = UnknownRemedy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|remedy| remedy.as_str() == name).ok_or_else(|| UnknownRemedy(name.into()))
    }
}

/// Why the huge pages that are free do not hold so much: memory in them is a whole number of them.
fn too_few_pages(meminfo: &str, memory_bytes: u64) -> Option<String> {
    let field = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let (Some(free), Some(size_kib @ 1..)) = (field("HugePages_Free"), field("Hugepagesize")) else {
        return Some("this kernel has no huge pages".into());
    };
    let size_bytes = size_kib << 10;
    if !memory_bytes.is_multiple_of(size_bytes) {
        let whole = (memory_bytes / size_bytes + 1) * size_bytes;
        return Some(format!(
            "memory of {memory_bytes} bytes is no whole number of huge pages of {size_kib} KiB: give machines a \
             multiple, such as {} MiB",
            whole >> 20
        ));
    }
    let reserved = field("HugePages_Rsvd").unwrap_or(0);
    let (needed, free) = (memory_bytes / size_bytes, free.saturating_sub(reserved));
    (free < needed).then(|| {
        format!("{free} huge pages of {size_kib} KiB are free and {needed} are needed: raise vm.nr_hugepages")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for remedy in Remedy::ALL {
            assert_eq!(remedy.as_str().parse::<Remedy>().unwrap(), remedy);
        }
        assert!("prayer".parse::<Remedy>().unwrap_err().to_string().contains("hugepages"));
    }

    #[test]
    fn pages_that_others_have_reserved_are_not_free() {
        let meminfo = |free, reserved| {
            format!(
                "MemTotal: 9 kB\nHugePages_Total: 200\nHugePages_Free: {free}\nHugePages_Rsvd: {reserved}\nHugepagesize: 2048 kB\n"
            )
        };
        assert_eq!(too_few_pages(&meminfo(128, 0), 256 << 20), None);
        let reason = too_few_pages(&meminfo(130, 3), 256 << 20).unwrap();
        assert!(reason.contains("127 huge pages of 2048 KiB are free and 128 are needed"), "{reason}");
        assert!(too_few_pages("MemTotal: 9 kB\n", 1).unwrap().contains("no huge pages"));
    }

    #[test]
    fn memory_is_a_whole_number_of_huge_pages_however_many_are_free() {
        let meminfo = "HugePages_Free: 9000\nHugepagesize: 2048 kB\n";
        assert_eq!(too_few_pages(meminfo, 258 << 20), None);
        for uneven in [257 << 20, (256 << 20) + 4096, (258 << 20) - 1] {
            let reason = too_few_pages(meminfo, uneven).unwrap();
            assert!(
                reason.contains(&format!("{uneven} bytes is no whole number of huge pages of 2048 KiB")),
                "{reason}"
            );
            assert!(reason.contains("such as 258 MiB"), "{reason}");
        }
    }
}
