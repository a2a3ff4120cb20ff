//! What a remedy comes to for machines of one kind on this host, or why they cannot have it.

use std::fs::{self, File};
use std::path::Path;

use virtmark_hypervisor::{MachineSpec, Network};
use virtmark_model::{Accelerator, Topology};

use super::cpus::HostCpus;
use super::direct::{self, Aio};
use super::{Remedy, Tuning, too_few_pages};
use crate::vm::Platform;

/// The CPU of the host under KVM, with what says on AMD's which threads share a core. QEMU hands that on only when told.
const HOST_CPU_WITH_THREADS: &str = "host,topoext=on";

/// What decides whether a remedy can be had.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) accelerator: Accelerator,
    pub(crate) cpus: HostCpus,
    /// Flags of the host's CPU.
    pub(crate) cpu_flags: Vec<String>,
    /// Where `proc` and `dev` are.
    pub(crate) root: &'a Path,
    pub(crate) spec: &'a MachineSpec,
}

impl Remedy {
    /// What it is for machines like `spec` of this platform.
    ///
    /// # Errors
    /// Why they cannot have it, or have it anyway.
    pub(crate) fn tuning(self, platform: &Platform, spec: &MachineSpec) -> Result<Tuning, String> {
        let ground = Ground {
            accelerator: platform.accelerator,
            cpus: HostCpus::find(),
            cpu_flags: virtmark_host::facts::host_facts().cpu_flags,
            root: Path::new("/"),
            spec,
        };
        let probe = || direct::probe(&platform.program.path, &platform.run_dir, spec);
        self.on(&ground, &probe)
    }

    /// The same on a host that is described; `probe` finds out how disks get past the page cache.
    fn on(self, ground: &Ground<'_>, probe: &dyn Fn() -> Result<Aio, String>) -> Result<Tuning, String> {
        let usual = Tuning::default();
        match self {
            Self::CacheNone => {
                ground.needs_disk()?;
                if ground.spec.snapshots {
                    return Err("what is written after a snapshot goes through the page cache".into());
                }
                Ok(Tuning { direct: Some(probe()?), ..usual })
            }
            Self::CpuMax => match ground.accelerator {
                Accelerator::Kvm => {
                    Err("machines have the CPU of the host under KVM, which is all there is".into())
                }
                Accelerator::Tcg => Ok(Tuning { cpu: Some("max"), ..usual }),
            },
            Self::HugePages => ground.huge_pages().map(|()| Tuning { huge_pages: true, ..usual }),
            Self::IoThread => ground.needs_disk().map(|()| Tuning { io_thread: true, ..usual }),
            Self::KvmClock => Err(ground.clock().into()),
            Self::MultiQueue => {
                let queues = ground.network_queues()?;
                Ok(Tuning { network_queues: Some(queues), ..usual })
            }
            Self::Pin => Ok(Tuning { pinned: ground.own_cpus()?, ..usual }),
            Self::QueueSize => {
                if !ground.has_disk() && ground.spec.networks.is_empty() {
                    return Err(
                        "the machine has neither a disk nor a network (the image bench has a disk)".into()
                    );
                }
                Ok(Tuning { large_queues: true, ..usual })
            }
            Self::Topology => {
                let topology = ground.topology()?;
                let with_threads = ground.accelerator == Accelerator::Kvm
                    && topology.threads > 1
                    && ground.cpu_flags.iter().any(|flag| flag == "topoext");
                let cpu = with_threads.then_some(HOST_CPU_WITH_THREADS);
                Ok(Tuning { topology: Some(topology), cpu, ..usual })
            }
            Self::Vhost => ground.vhost().map(|()| Tuning { vhost: true, ..usual }),
        }
    }
}

impl Ground<'_> {
    fn has_disk(&self) -> bool {
        let has_root = self.spec.image.as_ref().is_some_and(|image| image.root.is_some());
        has_root || !self.spec.disks.is_empty()
    }

    fn has_tap(&self) -> bool {
        self.spec.networks.iter().any(|network| matches!(network, Network::Shared { .. }))
    }

    fn needs_disk(&self) -> Result<(), String> {
        match self.has_disk() {
            true => Ok(()),
            false => Err("the machine has no disk (the image bench has one)".into()),
        }
    }

    fn huge_pages(&self) -> Result<(), String> {
        if self.spec.snapshots {
            return Err("memory of machines that are snapshotted is in a file".into());
        }
        let meminfo = fs::read_to_string(self.root.join("proc/meminfo")).unwrap_or_default();
        too_few_pages(&meminfo, self.spec.memory_bytes).map_or(Ok(()), Err)
    }

    /// Why there is no other clock to try.
    fn clock(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "machines have it already: it comes with the CPU of the host",
            Accelerator::Tcg => {
                "only KVM has it; emulated guests read the counter of their CPU, and nothing is nearer to them"
            }
        }
    }

    /// How many pairs of queues each interface can have. Disks have as many queues as there are virtual CPUs without being
    /// asked, as QEMU's default has been since version 5.2.
    fn network_queues(&self) -> Result<u32, String> {
        let vcpus = self.spec.vcpus;
        match (vcpus, self.has_tap(), self.has_disk()) {
            (0 | 1, _, _) => Err("one virtual CPU has no use for a second queue (--vcpus)".into()),
            (_, true, _) => Ok(vcpus),
            (_, false, true) => Err(format!(
                "each disk has a queue for each of the {vcpus} virtual CPUs already, and there is no network with a tap"
            )),
            (_, false, false) => Err("the machine has neither a disk nor a network with a tap".into()),
        }
    }

    fn own_cpus(&self) -> Result<Vec<usize>, String> {
        let vcpus = self.spec.vcpus;
        self.cpus.apart(vcpus as usize).ok_or_else(|| {
            format!("{} CPUs of the host may be used, and there are {vcpus} virtual ones", self.cpus.count())
        })
    }

    fn topology(&self) -> Result<Topology, String> {
        let vcpus = self.spec.vcpus;
        if vcpus <= 1 {
            return Err("one virtual CPU lies in one way only (--vcpus)".into());
        }
        let host = self.cpus.shape(vcpus).ok_or("the host's kernel does not say how its CPUs lie")?;
        if host == Topology::of_cores(vcpus) {
            return Err(format!("{vcpus} virtual CPUs lie as those of the host already: {host}"));
        }
        Ok(host)
    }

    fn vhost(&self) -> Result<(), String> {
        if !self.has_tap() {
            return Err(
                "the machine is on no network with a tap, which is what the kernel could serve".into()
            );
        }
        let device = self.root.join("dev/vhost-net");
        match File::options().read(true).write(true).open(&device) {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(format!("{} does not open: {error} (modprobe vhost_net makes it)", device.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use virtmark_hypervisor::{BootImage, Disk, RootDisk};
    use virtmark_model::ImageFacts;

    fn spec(vcpus: u32) -> MachineSpec {
        MachineSpec {
            name: "m".into(),
            vcpus,
            memory_bytes: 256 << 20,
            image: None,
            disks: Vec::new(),
            networks: Vec::new(),
            kernel_arguments: Vec::new(),
            snapshots: false,
            confined: false,
            ready_timeout: Duration::from_secs(1),
        }
    }

    fn with_disk(vcpus: u32) -> MachineSpec {
        MachineSpec { disks: vec![Disk { name: "data".into(), size_bytes: 512 }], ..spec(vcpus) }
    }

    fn with_root(vcpus: u32) -> MachineSpec {
        let root = Some(RootDisk { file: "/r".into(), size_bytes: 512 });
        let image =
            BootImage { kernel: "/k".into(), initramfs: "/i".into(), root, facts: ImageFacts::default() };
        MachineSpec { image: Some(image), ..spec(vcpus) }
    }

    fn with_tap(vcpus: u32) -> MachineSpec {
        MachineSpec { networks: vec![Network::Shared { segment: "s".into() }], ..spec(vcpus) }
    }

    fn with_user_network(vcpus: u32) -> MachineSpec {
        let network = Network::User { forwards: Vec::new(), restricted: false };
        MachineSpec { networks: vec![network], ..spec(vcpus) }
    }

    /// A host with two cores of two threads, and nothing else.
    fn ground<'a>(root: &'a Path, spec: &'a MachineSpec) -> Ground<'a> {
        Ground {
            accelerator: Accelerator::Tcg,
            cpus: HostCpus::at(&[(0, 0), (0, 0), (0, 1), (0, 1)]),
            cpu_flags: Vec::new(),
            root,
            spec,
        }
    }

    fn outcome(remedy: Remedy, spec: &MachineSpec) -> Result<Tuning, String> {
        remedy.on(&ground(Path::new("/nowhere"), spec), &|| Ok(Aio::Native))
    }

    fn reason(remedy: Remedy, spec: &MachineSpec) -> String {
        outcome(remedy, spec).unwrap_err()
    }

    fn under_kvm(remedy: Remedy, spec: &MachineSpec, flags: &[&str]) -> Result<Tuning, String> {
        let cpu_flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let ground =
            Ground { accelerator: Accelerator::Kvm, cpu_flags, ..ground(Path::new("/nowhere"), spec) };
        remedy.on(&ground, &|| Ok(Aio::Native))
    }

    #[test]
    fn what_is_for_disks_needs_one() {
        for remedy in [Remedy::CacheNone, Remedy::IoThread, Remedy::QueueSize] {
            assert!(reason(remedy, &spec(2)).contains("the image bench has"), "{remedy}");
            assert!(
                outcome(remedy, &with_disk(1)).is_ok() && outcome(remedy, &with_root(1)).is_ok(),
                "{remedy}"
            );
        }
        // A queue is not only that of a disk.
        assert!(outcome(Remedy::QueueSize, &with_user_network(1)).is_ok());
    }

    #[test]
    fn direct_access_is_as_good_as_the_probe_found_it() {
        let disk = with_disk(1);
        let direct = |probe: &dyn Fn() -> Result<Aio, String>| {
            Remedy::CacheNone.on(&ground(Path::new("/nowhere"), &disk), probe)
        };
        let expected = Tuning { direct: Some(Aio::Threads), ..Tuning::default() };
        assert_eq!(direct(&|| Ok(Aio::Threads)), Ok(expected));
        assert_eq!(direct(&|| Err("no O_DIRECT".into())), Err("no O_DIRECT".into()));
        let snapshots = MachineSpec { snapshots: true, ..disk.clone() };
        assert!(reason(Remedy::CacheNone, &snapshots).contains("after a snapshot"));
    }

    #[test]
    fn a_cpu_with_all_features_is_what_kvm_gives_anyway() {
        let max = Tuning { cpu: Some("max"), ..Tuning::default() };
        assert_eq!(outcome(Remedy::CpuMax, &spec(1)), Ok(max));
        assert!(under_kvm(Remedy::CpuMax, &spec(1), &[]).unwrap_err().contains("CPU of the host"));
    }

    #[test]
    fn huge_pages_have_to_be_free_and_are_not_for_snapshots() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let machine = spec(1);
        let huge = |free: u32| {
            let meminfo = format!("HugePages_Free: {free}\nHugepagesize: 2048 kB\n");
            fs::write(root.path().join("proc/meminfo"), meminfo).unwrap();
            Remedy::HugePages.on(&ground(root.path(), &machine), &|| Ok(Aio::Native))
        };
        assert_eq!(huge(128), Ok(Tuning { huge_pages: true, ..Tuning::default() }));
        assert!(huge(127).unwrap_err().contains("vm.nr_hugepages"));
        assert!(reason(Remedy::HugePages, &spec(1)).contains("no huge pages"));
        assert!(reason(Remedy::HugePages, &MachineSpec { snapshots: true, ..spec(1) }).contains("in a file"));
    }

    #[test]
    fn there_is_no_other_clock_to_try() {
        assert!(reason(Remedy::KvmClock, &spec(1)).contains("only KVM has it"));
        assert!(under_kvm(Remedy::KvmClock, &spec(1), &[]).unwrap_err().contains("already"));
    }

    #[test]
    fn several_queues_are_for_several_cpus_and_what_has_one_queue() {
        let four = Tuning { network_queues: Some(4), ..Tuning::default() };
        assert_eq!(outcome(Remedy::MultiQueue, &with_tap(4)), Ok(four));
        assert!(reason(Remedy::MultiQueue, &with_tap(1)).contains("one virtual CPU"));
        assert!(reason(Remedy::MultiQueue, &with_disk(2)).contains("each of the 2 virtual CPUs already"));
        assert!(reason(Remedy::MultiQueue, &with_user_network(2)).contains("neither"));
    }

    #[test]
    fn each_virtual_cpu_has_one_of_its_own_or_none_has() {
        let pinned = |cpus: Vec<usize>| Tuning { pinned: cpus, ..Tuning::default() };
        assert_eq!(outcome(Remedy::Pin, &spec(1)), Ok(pinned(vec![0])));
        assert_eq!(outcome(Remedy::Pin, &spec(3)), Ok(pinned(vec![0, 2, 1])));
        assert_eq!(
            reason(Remedy::Pin, &spec(5)),
            "4 CPUs of the host may be used, and there are 5 virtual ones"
        );
    }

    #[test]
    fn a_topology_has_to_be_another_one() {
        assert!(reason(Remedy::Topology, &spec(1)).contains("one virtual CPU"));
        assert!(reason(Remedy::Topology, &spec(3)).contains("already: sockets 1, cores 3, threads 1"));
        let topology = Topology { sockets: 1, cores: 2, threads: 2 };
        let expected = Tuning { topology: Some(topology), ..Tuning::default() };
        assert_eq!(outcome(Remedy::Topology, &spec(4)), Ok(expected.clone()));
        assert_eq!(under_kvm(Remedy::Topology, &spec(4), &["ht"]), Ok(expected.clone()));
        let amd = Tuning { cpu: Some("host,topoext=on"), ..expected };
        assert_eq!(under_kvm(Remedy::Topology, &spec(4), &["ht", "topoext"]), Ok(amd));
        let machine = spec(2);
        let unknown =
            Ground { cpus: HostCpus::of_unknown_places(2), ..ground(Path::new("/nowhere"), &machine) };
        assert!(Remedy::Topology.on(&unknown, &|| Ok(Aio::Native)).unwrap_err().contains("does not say"));
    }

    #[test]
    fn the_kernel_serves_taps_where_it_can() {
        assert!(reason(Remedy::Vhost, &with_user_network(1)).contains("no network with a tap"));
        assert!(reason(Remedy::Vhost, &with_tap(1)).contains("/nowhere/dev/vhost-net does not open"));
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/vhost-net"), "").unwrap();
        let machine = with_tap(1);
        let tuning = Remedy::Vhost.on(&ground(root.path(), &machine), &|| Ok(Aio::Native));
        assert_eq!(tuning, Ok(Tuning { vhost: true, ..Tuning::default() }));
    }
}
