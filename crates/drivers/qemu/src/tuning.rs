//! Settings that are known to make some machines faster, and are off unless somebody asks: each can be tried against
//! machines as they are.

mod available;
mod cpus;
mod direct;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use virtmark_model::{Accelerator, DiskCache, GuestClockSource, MachineFacts, Topology};

pub(crate) use direct::Aio;

/// Requests that fit into a queue of a virtio device: QEMU's default, and the most.
const QUEUE_SIZE: u32 = 256;
pub(crate) const LARGE_QUEUE_SIZE: u32 = 1024;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// Disks without the host's page cache in between.
    CacheNone,
    /// Every feature that the emulated CPU can have, instead of a plain one. Under KVM machines have the host's CPU anyway.
    CpuMax,
    /// Guest memory in the host's reserved huge pages.
    HugePages,
    /// A thread of its own for the requests of disks.
    IoThread,
    /// KVM's clock for guests. Machines have it where it exists, so that there is nothing to try.
    KvmClock,
    /// A pair of queues for each virtual CPU in interfaces on taps. Disks have as many queues anyway.
    MultiQueue,
    /// A CPU of the host for each virtual one.
    Pin,
    /// Longer queues of disks, and of interfaces to receive.
    QueueSize,
    /// Virtual CPUs that lie as the host's: in sockets, cores and threads.
    Topology,
    /// The host's kernel moves the packets of taps.
    Vhost,
}

/// What machines have beyond the usual: what a remedy comes to on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// How disks get past the page cache; through it when absent.
    pub(crate) direct: Option<Aio>,
    /// Another CPU than the usual one.
    pub(crate) cpu: Option<&'static str>,
    pub(crate) huge_pages: bool,
    pub(crate) io_thread: bool,
    pub(crate) large_queues: bool,
    /// Pairs of queues of each interface on a tap; one when absent.
    pub(crate) network_queues: Option<u32>,
    /// The CPU of the host for each virtual one; whichever is free when empty.
    pub(crate) pinned: Vec<usize>,
    /// How the virtual CPUs lie; as cores of one socket when absent.
    pub(crate) topology: Option<Topology>,
    pub(crate) vhost: bool,
}

impl Remedy {
    /// All of them, alphabetically.
    pub const ALL: [Self; 10] = [
        Self::CacheNone,
        Self::CpuMax,
        Self::HugePages,
        Self::IoThread,
        Self::KvmClock,
        Self::MultiQueue,
        Self::Pin,
        Self::QueueSize,
        Self::Topology,
        Self::Vhost,
    ];

    /// The name by which it is asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CacheNone => "cache-none",
            Self::CpuMax => "cpu-max",
            Self::HugePages => "hugepages",
            Self::IoThread => "iothread",
            Self::KvmClock => "kvm-clock",
            Self::MultiQueue => "multiqueue",
            Self::Pin => "pin",
            Self::QueueSize => "queue-size",
            Self::Topology => "topology",
            Self::Vhost => "vhost",
        }
    }
}

impl Tuning {
    /// How machines with this CPU and so many virtual ones are made. The defaults are those of QEMU 7.0 and later with the
    /// machine type `pc`. Of networks only what all have is said where there can be no taps.
    pub(crate) fn facts(
        &self,
        accelerator: Accelerator,
        cpu: &str,
        vcpus: u32,
        has_taps: bool,
    ) -> MachineFacts {
        let clock = match accelerator {
            Accelerator::Kvm => GuestClockSource::KvmClock,
            // What they are started with says that it can be relied upon.
            Accelerator::Tcg => GuestClockSource::Tsc,
        };
        let queue_size = if self.large_queues { LARGE_QUEUE_SIZE } else { QUEUE_SIZE };
        MachineFacts {
            clock: Some(clock),
            cpu_model: Some(cpu.into()),
            disk_cache: Some(if self.direct.is_some() { DiskCache::None } else { DiskCache::Writeback }),
            disk_queue_size: Some(queue_size),
            disk_queues: Some(vcpus),
            huge_pages: Some(self.huge_pages),
            io_thread: Some(self.io_thread),
            network_queues: has_taps.then(|| self.network_queues.unwrap_or(1)),
            network_receive_queue_size: Some(queue_size),
            pinned: Some(!self.pinned.is_empty()),
            topology: Some(self.topology.unwrap_or(Topology::of_cores(vcpus))),
            vhost: has_taps.then_some(self.vhost),
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
#[error("unknown remedy {0:?}: expected one of {names}", names = Remedy::ALL.map(Remedy::as_str).join(", "))]
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
    fn what_is_usual_is_on_record_and_what_is_not_too() {
        let usual = Tuning::default().facts(Accelerator::Tcg, "qemu64", 2, true);
        let expected = MachineFacts {
            clock: Some(GuestClockSource::Tsc),
            cpu_model: Some("qemu64".into()),
            disk_cache: Some(DiskCache::Writeback),
            disk_queue_size: Some(256),
            disk_queues: Some(2),
            huge_pages: Some(false),
            io_thread: Some(false),
            network_queues: Some(1),
            network_receive_queue_size: Some(256),
            pinned: Some(false),
            topology: Some(Topology { sockets: 1, cores: 2, threads: 1 }),
            vhost: Some(false),
        };
        assert_eq!(usual, expected);
        let topology = Topology { sockets: 2, cores: 1, threads: 1 };
        let all = Tuning {
            direct: Some(Aio::Threads),
            cpu: Some("max"),
            huge_pages: true,
            io_thread: true,
            large_queues: true,
            network_queues: Some(2),
            pinned: vec![1, 0],
            topology: Some(topology),
            vhost: true,
        };
        let expected = MachineFacts {
            clock: Some(GuestClockSource::KvmClock),
            cpu_model: Some("host".into()),
            disk_cache: Some(DiskCache::None),
            disk_queue_size: Some(1024),
            disk_queues: Some(2),
            huge_pages: Some(true),
            io_thread: Some(true),
            network_queues: Some(2),
            network_receive_queue_size: Some(1024),
            pinned: Some(true),
            topology: Some(topology),
            vhost: Some(true),
        };
        assert_eq!(all.facts(Accelerator::Kvm, "host", 2, true), expected);
        let without = Tuning::default().facts(Accelerator::Kvm, "host", 1, false);
        assert_eq!((without.network_queues, without.vhost), (None, None));
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
