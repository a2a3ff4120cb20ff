//! What remedies make of real QEMU processes, whose guests mostly need not run for it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use virtmark_driver_qemu::{Qemu, Remedy};
use virtmark_host::process::live_children;
use virtmark_hypervisor::{Capability, Command, Disk, Hypervisor, Machine, MachineSpec, Network};
use virtmark_model::{DiskCache, MachineFacts};

use common::Place;

/// The directory in `/proc` of a machine's process.
fn process(machine: &dyn Machine) -> PathBuf {
    let child = live_children().into_iter().find(|child| child.name == machine.name()).unwrap();
    Path::new("/proc").join(child.pid.to_string())
}

/// The names of its threads, with the CPUs that each may run on.
fn threads(process: &Path) -> Vec<(String, String)> {
    let tasks = fs::read_dir(process.join("task")).unwrap();
    let thread = |task: PathBuf| {
        let status = fs::read_to_string(task.join("status")).unwrap();
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
        (fs::read_to_string(task.join("comm")).unwrap().trim().to_owned(), cpus.trim().to_owned())
    };
    tasks.map(|task| thread(task.unwrap().path())).collect()
}

fn command_line(process: &Path) -> String {
    fs::read_to_string(process.join("cmdline")).unwrap().replace('\0', " ")
}

/// Descriptors of files with this end to their names, each with its flags as open(2) has them.
fn opened(process: &Path, end: &str) -> Vec<u32> {
    let descriptors = fs::read_dir(process.join("fd")).unwrap().map(|entry| entry.unwrap());
    let ours = descriptors
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|file| file.to_string_lossy().ends_with(end)));
    let flags = ours.map(|entry| {
        let info = fs::read_to_string(process.join("fdinfo").join(entry.file_name())).unwrap();
        let octal = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        u32::from_str_radix(octal.trim(), 8).unwrap()
    });
    flags.collect()
}

fn facts(qemu: &Qemu) -> MachineFacts {
    qemu.facts().machine.clone().unwrap()
}

fn spec(place: &Place, name: &str, vcpus: u32) -> MachineSpec {
    let disks = vec![Disk { name: "data".into(), size_bytes: 16 << 20 }];
    MachineSpec { vcpus, disks, snapshots: false, ..place.spec(name) }
}

#[test]
fn real_processes_have_what_the_record_says() {
    let place = Place::with_vcpus(2);
    let usual = facts(&place.qemu);
    let (machine, _) = place.qemu.create(&spec(&place, "usual", 2)).unwrap();
    let free = threads(&process(&*machine));
    let all_cpus = free[0].1.clone();
    assert!(free.iter().all(|(_, cpus)| *cpus == all_cpus), "{free:?}");
    let direct = |flags: &u32| flags & o_direct() != 0;
    assert!(!opened(&process(&*machine), "data.raw").iter().any(direct));
    drop(machine);
    for (remedy, name) in [
        (Remedy::CacheNone, "cache-none"),
        (Remedy::IoThread, "iothread"),
        (Remedy::Pin, "pin"),
        (Remedy::QueueSize, "queue-size"),
    ] {
        let spec = spec(&place, name, 2);
        let tuned = match place.qemu.with_remedy(remedy, &spec) {
            Ok(tuned) => tuned,
            Err(reason) => {
                // Nothing else may keep a host from one of these.
                assert!(remedy == Remedy::Pin || remedy == Remedy::CacheNone, "{remedy}: {reason}");
                eprintln!("{remedy} skipped: {reason}");
                continue;
            }
        };
        let (machine, _) = tuned.create(&spec).unwrap();
        let process = process(&*machine);
        let expected = match remedy {
            Remedy::CacheNone => {
                let flags = opened(&process, "data.raw");
                assert!(flags.iter().any(direct), "{flags:?}");
                MachineFacts { disk_cache: Some(DiskCache::None), ..usual.clone() }
            }
            Remedy::IoThread => {
                let threads = threads(&process);
                assert!(threads.iter().any(|(name, _)| name.starts_with("IO io")), "{threads:?}");
                MachineFacts { io_thread: Some(true), ..usual.clone() }
            }
            Remedy::Pin => {
                let threads = threads(&process);
                let vcpus = threads.iter().filter(|(name, _)| name.starts_with("CPU "));
                let cpus: BTreeSet<&String> = vcpus.map(|(_, cpus)| cpus).collect();
                assert_eq!(cpus.len(), 2, "{threads:?}");
                assert!(cpus.iter().all(|cpus| cpus.parse::<u32>().is_ok()), "{threads:?}");
                let others = threads.iter().filter(|(name, _)| !name.starts_with("CPU "));
                assert!(others.clone().count() > 0 && others.clone().all(|(_, cpus)| *cpus == all_cpus));
                MachineFacts { pinned: Some(true), ..usual.clone() }
            }
            _ => {
                assert!(command_line(&process).contains(",queue-size=1024"));
                MachineFacts {
                    disk_queue_size: Some(1024),
                    network_receive_queue_size: Some(1024),
                    ..usual.clone()
                }
            }
        };
        assert_eq!(facts(&tuned), expected, "{remedy}");
    }
    // Nothing stays of what was tried, and nothing of the machines.
    let directories = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let runs = directories(&place.path("bulk"));
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(directories(&runs[0]), Vec::<PathBuf>::new());
}

#[test]
fn real_guests_find_a_pair_of_queues_for_each_virtual_cpu() {
    let place = Place::with_vcpus(2);
    if let Some(reason) = place.qemu.capabilities().reason_absent(Capability::SharedNetwork) {
        eprintln!("skipped: {reason}");
        return;
    }
    let networks = vec![Network::Shared { segment: "s".into() }];
    let spec = MachineSpec { networks, disks: Vec::new(), ..spec(&place, "queues", 2) };
    let tuned = place.qemu.with_remedy(Remedy::MultiQueue, &spec).unwrap();
    assert_eq!(facts(&tuned), MachineFacts { network_queues: Some(2), ..facts(&place.qemu) });
    let (mut machine, _) = tuned.create(&spec).unwrap();
    machine.start().unwrap();
    let list = Command::shell("cd /sys/class/net/eth0/queues && echo *");
    let output = machine.guest().unwrap().exec(&list).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "rx-0 rx-1 tx-0 tx-1");
}

/// The bit of `O_DIRECT`, as `fdinfo` has it.
fn o_direct() -> u32 {
    rustix::fs::OFlags::DIRECT.bits()
}
