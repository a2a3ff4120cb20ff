//! Compares ways to start a guest under KVM, in turn, wherever KVM works: on this host, or in a lab of its own.
//!
//! `cargo run -p virtmark-lab --example start_paths -- [ROUNDS]`; what is built takes no part in the times.
//!
//! From spawning `qemu-system` to the agent's first line on the console: the time, and QEMU's CPU time until then (the
//! guest's is part of it), which neighbours disturb less. In the lab both compare the variants of one run and nothing else.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_driver_qemu::{AcceleratorChoice, Program, Qemu, QemuOptions};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::link::INIT_MARK;
use virtmark_hypervisor::{BootImage, Hypervisor};
use virtmark_image::{SharedFile, Store, TinyRecipe};
use virtmark_lab::{Job, LabOptions, Outcome};
use virtmark_stats::{Summary, ratio_of_medians};

/// The first argument of this program where KVM works.
const INSIDE: &str = "inside";

/// Seconds after which a boot has failed.
const PATIENCE_SECONDS: u32 = 90;

/// Ticks of `/proc/PID/stat` in a second, on every Linux of x86-64.
const TICKS: f64 = 100.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_inside = arguments.first().is_some_and(|first| first == INSIDE);
    if is_inside {
        arguments.remove(0);
    }
    let rounds: usize = arguments.first().map_or(Ok(6), |text| text.parse())?;
    if is_inside {
        return measure(rounds);
    }
    let job = Job {
        files: vec![SharedFile { source: std::env::current_exe()?, path: "bin/start_paths".into() }],
        command: format!("$LAB_FILES/bin/start_paths {INSIDE} {rounds}"),
        env: [("HOME".to_owned(), std::env::var("HOME").unwrap_or("/root".into()))].into(),
        timeout: Duration::from_secs(3600),
    };
    let options = LabOptions::new(Store::default_dir()?);
    let output = virtmark_lab::run(&job, &options, &mut |line| eprintln!("{line}"))?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    match output.outcome {
        Outcome::Exited(0) => Ok(()),
        other => Err(format!("the measurement ended with {other:?}").into()),
    }
}

/// A way to start a guest.
struct Variant {
    name: &'static str,
    machine: String,
    append: String,
    /// Whether the kernel is the compressed one, through the firmware.
    compressed: bool,
}

/// What was seen of a variant's boots.
#[derive(Default)]
struct Seen {
    seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
    failures: usize,
}

fn measure(rounds: usize) -> Result<(), Box<dyn Error>> {
    let store = Store::open(Store::default_dir()?)?;
    let recipe = TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec());
    let image = BootImage::of(&store.ensure_tiny(&recipe, &mut |words| eprintln!("{words}"))?);
    let compressed = fs::read_dir("/boot")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")));
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Kvm,
        cache: store.dir().into(),
        vcpus: 1,
    };
    let run_dir = Arc::new(RunDir::create()?);
    let qemu = Qemu::new(&options, &image, run_dir, &mut |words| eprintln!("{words}"))?;
    let program = Program::find(None)?;
    let mut variants = variants(&qemu);
    if compressed.is_none() {
        variants.retain(|variant| !variant.compressed);
    }
    let mut seen: Vec<Seen> = variants.iter().map(|_| Seen::default()).collect();
    for round in 0..rounds {
        // Each comes at every place of a round: what runs before leaves its traces.
        for turn in 0..variants.len() {
            let at = (round + turn) % variants.len();
            let variant = &variants[at];
            let kernel = compressed.as_deref().filter(|_| variant.compressed).unwrap_or(&image.kernel);
            let mut command = Command::new("timeout");
            command.args(["--signal=KILL", &PATIENCE_SECONDS.to_string()]).arg(&program.path);
            command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
            command.args(["-serial", "stdio", "-accel", "kvm", "-cpu", "host", "-m", "256"]);
            command.args(["-machine", &variant.machine, "-append", &variant.append]);
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(&image.initramfs);
            match boot(command)? {
                Some((elapsed, cpu_seconds)) => {
                    seen[at].seconds.push(elapsed.as_secs_f64());
                    seen[at].cpu_seconds.push(cpu_seconds);
                }
                None => seen[at].failures += 1,
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    let execution = qemu.facts().execution().unwrap_or_default();
    println!("{rounds} rounds, in turn, {execution}, QEMU {}", program.version);
    println!(
        "| variant | median s | least s | most s | least CPU s | ratio of medians to the plan (95 %) | failed |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (variant, own) in variants.iter().zip(&seen) {
        let (name, failures) = (variant.name, own.failures);
        let Ok(summary) = Summary::from_samples(&own.seconds) else {
            println!("| {name} | | | | | | {failures} |");
            continue;
        };
        let least_cpu = own.cpu_seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let ratio = ratio_of_medians(&own.seconds, &seen[0].seconds, 0.95).map_or_else(
            |_| String::new(),
            |ratio| format!("{:.2} ({:.2} to {:.2})", ratio.point, ratio.interval.low, ratio.interval.high),
        );
        let (median, least, most) = (summary.median, summary.min, summary.max);
        println!("| {name} | {median:.2} | {least:.2} | {most:.2} | {least_cpu:.2} | {ratio} | {failures} |");
    }
    Ok(())
}

/// The plan of the driver, and others.
fn variants(qemu: &Qemu) -> Vec<Variant> {
    let planned = qemu.bare_arguments(1);
    let of = |option: &str| {
        planned.iter().find(|(name, _)| *name == option).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (machine, append) = (of("-machine"), of("-append"));
    let variant = |name, machine: &str, more: &str| Variant {
        name,
        machine: machine.into(),
        append: format!("{append} {more}").trim().into(),
        compressed: false,
    };
    let quick = "tsc=reliable no_timer_check cryptomgr.notests audit=0";
    let light = format!("{quick} nokaslr lsm=");
    let bare = "acpi=off pci=conf1,nomsi";
    vec![
        variant("the plan", &machine, ""),
        Variant { compressed: true, ..variant("the compressed kernel, through the firmware", &machine, "") },
        variant("q35", "q35,usb=off,vmport=off,smbus=off,hpet=off", ""),
        variant("microvm with PIT, PIC, RTC and PCIe", "microvm,pit=on,pic=on,rtc=on,pcie=on", ""),
        variant("`mitigations=off`", &machine, "mitigations=off"),
        variant("`tsc=reliable no_timer_check cryptomgr.notests audit=0`", &machine, quick),
        variant("the same with `nokaslr lsm=`", &machine, &light),
        variant("`acpi=off pci=conf1,nomsi`", &machine, bare),
        variant("the same with the lighter arguments", &machine, &format!("{bare} {light}")),
    ]
}

/// Time and CPU seconds until the agent's first line; nothing when it did not come.
fn boot(mut command: Command) -> Result<Option<(Duration, f64)>, Box<dyn Error>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut console = child.stdout.take().ok_or("QEMU has no standard output")?;
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    let elapsed = loop {
        let count = console.read(&mut chunk)?;
        if count == 0 {
            break None;
        }
        said.extend_from_slice(&chunk[..count]);
        if said.windows(INIT_MARK.len()).any(|window| window == INIT_MARK.as_bytes()) {
            break Some(started.elapsed());
        }
    };
    // timeout(1) has one child, and hands this signal on to it.
    let id = child.id();
    let qemu = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let cpu_seconds = cpu_seconds(qemu.trim());
    if elapsed.is_some() {
        Command::new("kill").arg(id.to_string()).status()?;
    }
    child.wait()?;
    Ok(elapsed.zip(cpu_seconds))
}

/// User, system and guest time of a process.
fn cpu_seconds(pid: &str) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}
