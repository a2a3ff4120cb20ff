//! What it costs that a machine is confined: cold starts and restores with and without, alternating in one run.
//!
//! `cargo run --example bench_confinement -- [ROUNDS]`
//!
//! Each time is from the request until the output of `echo` is in hand. `spawn` is the phase in which the VMM is
//! started, until it takes commands; all that confinement does is in it, in `prepare`, and in the end of the machine.

mod common;

use std::error::Error;
use std::time::{Duration, Instant};

use virtmark_driver_qemu::Qemu;
use virtmark_hypervisor::{Command, Hypervisor, MachineSpec, Snapshot};
use virtmark_stats::Summary;

/// What one machine took, in nanoseconds.
struct Times {
    prepare_ns: u64,
    spawn_ns: u64,
    ready_ns: u64,
    destroy_ns: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(15), |text| text.parse())?;
    let (qemu, image_files, run_dir, _held) = common::tiny()?;
    let started = Instant::now();
    let facts = qemu.confinement();
    println!("finding out what holds: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    for (name, measure) in facts.measures() {
        println!("{name}: {} ({})", if measure.holds { "yes" } else { "no" }, measure.detail);
    }
    let spec = MachineSpec {
        name: "bench".into(),
        vcpus: 1,
        memory_bytes: 256 << 20,
        image: Some(image_files),
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(60),
    };
    let directory = run_dir.bulk_dir("template", spec.memory_bytes)?.join("snapshot");
    let kept = MachineSpec { name: "kept".into(), snapshots: true, ..spec.clone() };
    let (mut machine, _) = qemu.create(&kept)?;
    machine.start()?;
    let (snapshot, _) = machine.snapshot(&directory)?;
    machine.destroy()?;

    for (what, snapshot) in [("cold start", None), ("restore", Some(&snapshot))] {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // Each comes first equally often.
            for turn in 0..2 {
                let confined = (round + turn) % 2 == 1;
                let spec = MachineSpec { confined, ..spec.clone() };
                times[usize::from(confined)].push(take(&qemu, &spec, snapshot)?);
            }
        }
        for (confined, times) in ["free", "confined"].into_iter().zip(&times) {
            let median = |of: fn(&Times) -> u64| -> Result<f64, Box<dyn Error>> {
                let samples: Vec<f64> = times.iter().map(|times| of(times) as f64).collect();
                Ok(Summary::from_samples(&samples)?.median / 1e6)
            };
            println!(
                "{what}, {confined:8} medians of {rounds}: to first output {:.2} ms, prepare {:.2}, spawn {:.2}, destroy {:.2}",
                median(|times| times.ready_ns)?,
                median(|times| times.prepare_ns)?,
                median(|times| times.spawn_ns)?,
                median(|times| times.destroy_ns)?,
            );
        }
    }
    Ok(())
}

/// One machine, from the request to the end.
fn take(qemu: &Qemu, spec: &MachineSpec, snapshot: Option<&Snapshot>) -> Result<Times, Box<dyn Error>> {
    let started = Instant::now();
    let (mut machine, timeline) = match snapshot {
        Some(snapshot) => qemu.restore(snapshot, spec)?,
        None => {
            let (mut machine, timeline) = qemu.create(spec)?;
            machine.start()?;
            (machine, timeline)
        }
    };
    let output = machine.guest()?.exec(&Command::shell("echo benchmark"))?;
    let ready_ns = elapsed_ns(started);
    if output.stdout != b"benchmark\n" {
        return Err(format!("the guest answered {:?}", output.stdout).into());
    }
    let ending = Instant::now();
    machine.destroy()?;
    Ok(Times {
        prepare_ns: timeline.phase_ns("prepare").unwrap_or_default(),
        spawn_ns: timeline.phase_ns("spawn").unwrap_or_default(),
        ready_ns,
        destroy_ns: elapsed_ns(ending),
    })
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
