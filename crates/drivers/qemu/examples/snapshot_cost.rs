//! What snapshots cost: the phases of taking one, of restoring it, and of taking one of the restored machine, in
//! milliseconds, and how far the restored guest's wall clock is from the host's.
//!
//! `cargo run --release -p virtmark-driver-qemu --example snapshot_cost -- [MEMORY_MIB] [DISK_MIB] [ROUNDS]`

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use virtmark_hypervisor::{Command, Disk, Hypervisor, MachineSpec};
use virtmark_model::Timeline;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let memory_mib = numbers.next().transpose()?.unwrap_or(256);
    let disk_mib = numbers.next().transpose()?.unwrap_or(0);
    let rounds = numbers.next().transpose()?.unwrap_or(5);

    let (qemu, image, _run_dir, _held) = common::tiny()?;
    let disks = (disk_mib > 0).then(|| Disk { name: "data".into(), size_bytes: disk_mib << 20 });
    let spec = |name: String| MachineSpec {
        name,
        vcpus: 1,
        memory_bytes: memory_mib << 20,
        image: Some(image.clone()),
        disks: disks.iter().cloned().collect(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: true,
        confined: false,
        ready_timeout: Duration::from_secs(60),
    };
    let place = std::env::temp_dir().join(format!("snapshot-cost-{}", std::process::id()));
    std::fs::create_dir(&place)?;
    for round in 0..rounds {
        let (mut source, _) = qemu.create(&spec(format!("source-{round}")))?;
        source.start()?;
        if disk_mib > 0 {
            let line = format!("dd if=/dev/urandom of=/dev/vda bs=1M count={} 2>/dev/null", disk_mib / 2);
            source.guest()?.exec(&Command::shell(line))?;
        }
        let (first, timeline) = source.snapshot(&place.join("first"))?;
        print("snapshot", &timeline);
        let mut restored = None;
        for name in ["restore (verified)", "restore again"] {
            drop(restored.take());
            let (machine, timeline) = qemu.restore(&first, &spec(format!("restored-{round}")))?;
            print(name, &timeline);
            let before = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            let guest_ns = u128::from(machine.guest()?.clock()?.realtime_ns);
            let after = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            println!(
                "{:20} behind the host by {:.1} to {:.1}",
                "wall clock",
                before as f64 / 1e6 - guest_ns as f64 / 1e6,
                after as f64 / 1e6 - guest_ns as f64 / 1e6
            );
            restored = Some(machine);
        }
        let Some(mut restored) = restored else { continue };
        let (second, timeline) = restored.snapshot(&place.join("second"))?;
        print("snapshot of restored", &timeline);
        println!(
            "{:20} first {} MiB, second {} MiB",
            "on disk",
            first.disk_bytes >> 20,
            second.disk_bytes >> 20
        );
        drop((source, restored));
        qemu.discard(first)?;
        let (machine, timeline) = qemu.restore(&second, &spec(format!("second-{round}")))?;
        print("restore of that", &timeline);
        drop(machine);
        qemu.discard(second)?;
    }
    std::fs::remove_dir(&place)?;
    Ok(())
}

fn print(what: &str, timeline: &Timeline) {
    let phases: Vec<String> = timeline
        .phases
        .iter()
        .map(|phase| format!("{} {:.1}", phase.name, phase.duration_ns as f64 / 1e6))
        .collect();
    println!("{what:20} {}", phases.join(", "));
}
