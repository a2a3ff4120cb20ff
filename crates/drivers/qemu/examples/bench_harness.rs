//! Compares a cold start through the driver with bare QEMU command lines, alternating in one run.
//!
//! `cargo run --release --example bench_harness -- [ROUNDS]`
//!
//! Ours is the time from the request to create until the output of `echo` is in hand. Bare is the time from spawning
//! `qemu-system` until the guest's first user-space byte arrives: once with our machine type and kernel arguments, which
//! leaves the driver's own cost and the agent's, and once with a plain command line as one would type it. Same QEMU,
//! accelerator, kernel and initramfs.

mod common;

use std::error::Error;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use virtmark_driver_qemu::{Program, Qemu};
use virtmark_hypervisor::link::INIT_MARK;
use virtmark_hypervisor::{BootImage, Command as GuestCommand, Hypervisor, MachineSpec};
use virtmark_stats::{Summary, ratio_of_medians};

const MEMORY_BYTES: u64 = 256 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(15), |text| text.parse())?;
    let (qemu, boot_image, _run_dir, _held) = common::tiny()?;
    let accelerator = qemu.facts().accelerator.map(|accelerator| accelerator.to_string()).unwrap_or_default();
    let program = Program::find(None)?;

    let same = qemu.bare_arguments(1);
    let plain = [("-machine", "pc".to_owned()), ("-append", "console=ttyS0".to_owned())];
    let [mut ours_ns, mut same_ns, mut plain_ns] = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        // Each comes first, second and last equally often: what runs before leaves its traces in caches and clocks.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => ours_ns.push(ours(&qemu, &boot_image)?),
                1 => same_ns.push(bare(&program, &boot_image, &accelerator, &same)?),
                _ => plain_ns.push(bare(&program, &boot_image, &accelerator, &plain)?),
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!("{rounds} rounds, alternating, {accelerator}, QEMU {}", program.version);
    for (name, samples) in [
        ("virtmark, to first output", &ours_ns),
        ("bare, same arguments", &same_ns),
        ("bare, plain", &plain_ns),
    ] {
        let summary = Summary::from_samples(samples)?;
        println!(
            "{name:28} median {:7.1} ms  min {:7.1}  max {:7.1}",
            ms(summary.median),
            ms(summary.min),
            ms(summary.max)
        );
    }
    for (name, peer) in [("same arguments", &same_ns), ("plain", &plain_ns)] {
        let ratio = ratio_of_medians(&ours_ns, peer, 0.95)?;
        println!(
            "ratio to bare, {name:14} {:.3} (95 % {:.3} to {:.3})",
            ratio.point, ratio.interval.low, ratio.interval.high
        );
    }
    Ok(())
}

fn ms(ns: f64) -> f64 {
    ns / 1e6
}

/// Nanoseconds from the request to create to the output of the first command.
fn ours(qemu: &Qemu, image: &BootImage) -> Result<f64, Box<dyn Error>> {
    let spec = MachineSpec {
        name: "bench".into(),
        vcpus: 1,
        memory_bytes: MEMORY_BYTES,
        image: Some(image.clone()),
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: false,
        ready_timeout: Duration::from_secs(60),
    };
    let started = Instant::now();
    let (mut machine, _) = qemu.create(&spec)?;
    machine.start()?;
    let output = machine.guest()?.exec(&GuestCommand::shell("echo benchmark"))?;
    let elapsed = started.elapsed();
    if output.stdout != b"benchmark\n" {
        return Err(format!("the guest answered {:?}", output.stdout).into());
    }
    machine.destroy()?;
    Ok(elapsed.as_nanos() as f64)
}

/// Nanoseconds from spawning QEMU to the guest's first user-space byte.
fn bare(
    program: &Program,
    image: &BootImage,
    accelerator: &str,
    arguments: &[(&str, String)],
) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new(&program.path);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    command.args(["-accel", accelerator, "-m", &format!("{MEMORY_BYTES}B")]);
    command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
    for (option, value) in arguments {
        command.args([option, value.as_str()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut console = child.stdout.take().ok_or("QEMU has no standard output")?;
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    let elapsed = loop {
        let count = console.read(&mut chunk)?;
        if count == 0 {
            break None;
        }
        seen.extend_from_slice(&chunk[..count]);
        if seen.windows(INIT_MARK.len()).any(|window| window == INIT_MARK.as_bytes()) {
            break Some(started.elapsed());
        }
    };
    child.kill()?;
    child.wait()?;
    let elapsed = elapsed.ok_or_else(|| format!("the guest ended: {}", String::from_utf8_lossy(&seen)))?;
    Ok(elapsed.as_nanos() as f64)
}
