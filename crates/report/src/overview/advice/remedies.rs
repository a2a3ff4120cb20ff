//! The remedies: each with what shows that a machine lacks it.

use virtmark_model::{Accelerator, DiskCache, MachineFacts, Run};

use super::{Advice, Finding};

/// Work of a machine whose disk is read, for a trial.
const DISK_WORK: &str = "--image bench --cmd 'dd if=/dev/vda of=/dev/null bs=1M count=64'";

/// What is said of remedies for networks.
const NO_NETWORK: &str = "not by virtmark tune, whose machines have no network";

/// The longest queue that a virtio device can have.
const LONGEST_QUEUE: u32 = 1024;

/// What a run's record lacks of what is known to help, dearest first.
pub(super) fn lacking(finding: Finding, run: &Run) -> Vec<Advice> {
    let remedies: &[fn(&Run) -> Option<Advice>] = match finding {
        Finding::Cpu | Finding::Operation => {
            &[accelerator, cpu_mode, cpu_features, governor, room, pinning, topology, huge_pages]
        }
        Finding::Memory => &[huge_pages],
        Finding::Network => &[accelerator, vhost, network_queues, receive_queue_size],
        Finding::Storage => &[accelerator, cache, io_thread, queue_size],
    };
    remedies.iter().filter_map(|remedy| remedy(run)).collect()
}

/// How the machines of a run were made; absent where the platform did not say.
fn machine(run: &Run) -> Option<&MachineFacts> {
    run.environment.hypervisor.machine.as_ref()
}

fn vcpus(run: &Run) -> Option<u64> {
    run.configuration.get("vcpus")?.as_u64()
}

fn is_emulated(run: &Run) -> bool {
    run.environment.hypervisor.accelerator == Some(Accelerator::Tcg)
}

/// The command that measures a remedy on machines as large as those of the run.
fn trial(remedy: &str, run: &Run, work: &str) -> Option<String> {
    let mut command = format!("virtmark tune --try {remedy} -- tti");
    if let Some(vcpus @ 2..) = vcpus(run) {
        command.push_str(&format!(" --vcpus {vcpus}"));
    }
    if !work.is_empty() {
        command.push_str(&format!(" {work}"));
    }
    Some(command)
}

fn accelerator(run: &Run) -> Option<Advice> {
    is_emulated(run).then(|| Advice {
        instead: "software emulation".into(),
        remedy: "hardware virtualisation; virtmark doctor says what keeps this host from it",
        trial: None,
    })
}

/// The processor that the guest sees: anything but the host's own costs what it hides.
fn cpu_mode(run: &Run) -> Option<Advice> {
    let model = machine(run)?.cpu_model.as_deref()?;
    let lacking =
        run.environment.hypervisor.accelerator == Some(Accelerator::Kvm) && !model.starts_with("host");
    lacking.then(|| Advice {
        instead: format!("CPU model {model}"),
        remedy: "the host's own CPU model (host-passthrough)",
        trial: None,
    })
}

/// An emulated processor has what it is told to have.
fn cpu_features(run: &Run) -> Option<Advice> {
    let model = machine(run)?.cpu_model.as_deref()?;
    (is_emulated(run) && !model.starts_with("max")).then(|| Advice {
        instead: format!("CPU model {model}"),
        remedy: "every feature that the emulated CPU can have",
        trial: trial("cpu-max", run, ""),
    })
}

fn governor(run: &Run) -> Option<Advice> {
    let governor = run.environment.host.governor.as_deref().filter(|governor| *governor != "performance")?;
    Some(Advice {
        instead: format!("frequency governor {governor}"),
        remedy: "the governor performance on the host's CPUs",
        trial: None,
    })
}

/// More virtual CPUs than there are others.
fn room(run: &Run) -> Option<Advice> {
    let (vcpus, cpus) = (vcpus(run)?, u64::from(run.environment.host.logical_cpus));
    (cpus > 0 && vcpus > cpus).then(|| Advice {
        instead: format!("{vcpus} vCPUs on {cpus} CPUs"),
        remedy: "no more vCPUs than the host has CPUs, each on its own",
        trial: None,
    })
}

fn pinning(run: &Run) -> Option<Advice> {
    let (vcpus, cpus) = (vcpus(run)?, u64::from(run.environment.host.logical_cpus));
    (machine(run)?.pinned == Some(false) && vcpus <= cpus).then(|| Advice {
        instead: "vCPUs on whichever CPU of the host is free".into(),
        remedy: "a CPU of the host for each vCPU",
        trial: trial("pin", run, ""),
    })
}

/// Threads that share a core do so for a guest only when it is told.
fn topology(run: &Run) -> Option<Advice> {
    let topology = machine(run)?.topology?;
    let lacking = run.environment.host.smt == Some(true)
        && topology.threads == 1
        && vcpus(run)?.is_multiple_of(2)
        && !is_emulated(run);
    lacking.then(|| Advice {
        instead: format!("vCPUs in {topology}, on a host whose cores have several threads"),
        remedy: "vCPUs that lie as the host's CPUs do",
        trial: trial("topology", run, ""),
    })
}

fn huge_pages(run: &Run) -> Option<Advice> {
    let reserved = run.environment.host.huge_pages_total?;
    (machine(run)?.huge_pages == Some(false)).then(|| match reserved {
        0 => Advice {
            instead: "ordinary pages, and the host has no huge ones reserved".into(),
            remedy: "huge pages for the guest's memory; virtmark doctor says how they are reserved",
            trial: trial("hugepages", run, ""),
        },
        reserved => Advice {
            instead: format!("ordinary pages, and the host has {reserved} huge ones reserved"),
            remedy: "huge pages for the guest's memory",
            trial: trial("hugepages", run, ""),
        },
    })
}

fn cache(run: &Run) -> Option<Advice> {
    (machine(run)?.disk_cache == Some(DiskCache::Writeback)).then(|| Advice {
        instead: "the host's page cache between disks and their files".into(),
        remedy: "direct input and output (cache=none)",
        trial: trial("cache-none", run, DISK_WORK),
    })
}

fn io_thread(run: &Run) -> Option<Advice> {
    (machine(run)?.io_thread == Some(false)).then(|| Advice {
        instead: "disks served by QEMU's main thread".into(),
        remedy: "an I/O thread for disks",
        trial: trial("iothread", run, DISK_WORK),
    })
}

fn queue_size(run: &Run) -> Option<Advice> {
    let size = machine(run)?.disk_queue_size.filter(|size| *size < LONGEST_QUEUE)?;
    Some(Advice {
        instead: format!("queues of disks for {size} requests"),
        remedy: "longer queues",
        trial: trial("queue-size", run, DISK_WORK),
    })
}

fn vhost(run: &Run) -> Option<Advice> {
    (machine(run)?.vhost == Some(false)).then(|| Advice {
        instead: "packets moved by QEMU".into(),
        remedy: "packets moved by the host's kernel (vhost-net)",
        trial: Some(NO_NETWORK.into()),
    })
}

fn network_queues(run: &Run) -> Option<Advice> {
    let vcpus = vcpus(run)?;
    (machine(run)?.network_queues == Some(1) && vcpus > 1).then(|| Advice {
        instead: format!("interfaces with one pair of queues for {vcpus} vCPUs"),
        remedy: "a pair of queues for each vCPU",
        trial: Some(NO_NETWORK.into()),
    })
}

fn receive_queue_size(run: &Run) -> Option<Advice> {
    let size = machine(run)?.network_receive_queue_size.filter(|size| *size < LONGEST_QUEUE)?;
    Some(Advice {
        instead: format!("interfaces that receive in queues of {size}"),
        remedy: "longer queues",
        trial: Some(NO_NETWORK.into()),
    })
}
