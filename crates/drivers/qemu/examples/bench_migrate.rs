//! Compares the downtime that QEMU reports for a migration through the driver with one that a bare script drives,
//! alternating in one run.
//!
//! `cargo run --release --example bench_migrate -- [ROUNDS]`
//!
//! Both move an idle guest of the same kernel, initramfs and memory between two QEMU processes, with a return path and
//! QEMU's own limits. Bare are two command lines and the QMP commands that any script would send, by sockets in a
//! temporary directory.

mod common;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtmark_driver_qemu::{Program, Qemu};
use virtmark_hypervisor::link::{INIT_MARK, PORT_NAME};
use virtmark_hypervisor::{BootImage, Hypervisor, MachineSpec, Migration, MigrationChannel, MigrationMode};
use virtmark_stats::Summary;

const MEMORY_BYTES: u64 = 256 << 20;
/// For the guest to have nothing left to do.
const SETTLE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(10), |text| text.parse())?;
    let (qemu, boot_image, _run_dir, _held) = common::tiny()?;
    let (mut ours_ms, mut bare_ms) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Each comes first equally often.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                ours_ms.push(ours(&qemu, &boot_image)?);
            } else {
                bare_ms.push(bare(&qemu, &boot_image)?);
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!("{rounds} rounds, alternating, downtime as QEMU {} says", qemu.facts().version);
    for (name, samples) in [("virtmark", &ours_ms), ("bare script", &bare_ms)] {
        let summary = Summary::from_samples(samples)?;
        println!(
            "{name:12} median {:5.1} ms  mean {:5.1}  min {:5.1}  max {:5.1}",
            summary.median, summary.mean, summary.min, summary.max
        );
    }
    Ok(())
}

/// Milliseconds that QEMU says the guest stood still, through the driver.
fn ours(qemu: &Qemu, image: &BootImage) -> Result<f64> {
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
        ready_timeout: PATIENCE,
    };
    let (mut machine, _) = qemu.create(&spec)?;
    machine.start()?;
    thread::sleep(SETTLE);
    let moved = machine.migrate(&Migration {
        mode: MigrationMode::PreCopy,
        channel: MigrationChannel::Unix,
        max_bandwidth_bytes: None,
        downtime_limit_ms: None,
        timeout: PATIENCE,
    })?;
    machine.destroy()?;
    Ok(moved.figures.downtime_ms.ok_or("QEMU says nothing of the downtime")? as f64)
}

/// The same by hand.
fn bare(qemu: &Qemu, image: &BootImage) -> Result<f64> {
    let place = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp")?;
    let (channel, incoming) =
        (place.path().join("migration"), format!("unix:{}/migration", place.path().display()));
    let mut source = Bare::start(qemu, image, &place.path().join("source"), None)?;
    source.wait_init()?;
    thread::sleep(SETTLE);
    let mut destination = Bare::start(qemu, image, &place.path().join("destination"), Some(&incoming))?;
    for qemu in [&mut source, &mut destination] {
        let on = json!({ "capabilities": [{ "capability": "return-path", "state": true }] });
        qemu.execute("migrate-set-capabilities", on)?;
    }
    source.execute("migrate", json!({ "uri": format!("unix:{}", channel.display()) }))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = source.execute("query-migrate", json!({}))?;
        match answer["status"].as_str() {
            // Summed up a moment after it is complete.
            Some("completed") if answer["total-time"].as_u64().is_some_and(|total| total > 0) => {
                return Ok(answer["downtime"].as_f64().ok_or("no downtime")?);
            }
            Some("failed") => return Err(answer.to_string().into()),
            _ if Instant::now() > deadline => return Err("it does not end".into()),
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A QEMU of a plain command line, killed when dropped.
struct Bare {
    child: Child,
    qmp: BufReader<UnixStream>,
}

impl Bare {
    fn start(qemu: &Qemu, image: &BootImage, socket: &Path, incoming: Option<&str>) -> Result<Self> {
        let program = Program::find(None)?;
        let accelerator = qemu.facts().accelerator.map(|found| found.to_string()).unwrap_or_default();
        let mut command = Command::new(&program.path);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            "stdio",
        ]);
        command.args(["-accel", &accelerator, "-m", &format!("{MEMORY_BYTES}B")]);
        // The agent's port, to which nobody connects.
        command.args(["-chardev", "null,id=agent", "-device", "virtio-serial-pci,max_ports=2", "-device"]);
        command.arg(format!("virtserialport,chardev=agent,name={PORT_NAME}"));
        command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
        command.args(["-qmp", &format!("unix:{},server=on,wait=off", socket.display())]);
        for (option, value) in qemu.bare_arguments(1) {
            command.args([option, value.as_str()]);
        }
        command.args(incoming.iter().flat_map(|uri| ["-incoming", uri]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    child.kill()?;
                    return Err(error.into());
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut qemu = Self { child, qmp: BufReader::new(stream) };
        qemu.qmp.read_line(&mut String::new())?;
        qemu.execute("qmp_capabilities", json!({}))?;
        Ok(qemu)
    }

    fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string() + "\n";
        self.qmp.get_mut().write_all(line.as_bytes())?;
        loop {
            let mut line = String::new();
            if self.qmp.read_line(&mut line)? == 0 {
                return Err(format!("QEMU ended during {command}").into());
            }
            let mut answer: Value = serde_json::from_str(&line)?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if answer.get("error").is_some() {
                return Err(answer.to_string().into());
            }
        }
    }

    /// Waits for the guest's first user-space byte.
    fn wait_init(&mut self) -> Result<()> {
        let console = self.child.stdout.as_mut().ok_or("QEMU has no standard output")?;
        let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
        while !seen.windows(INIT_MARK.len()).any(|window| window == INIT_MARK.as_bytes()) {
            let count = console.read(&mut chunk)?;
            if count == 0 {
                return Err(format!("the guest ended: {}", String::from_utf8_lossy(&seen)).into());
            }
            seen.extend_from_slice(&chunk[..count]);
        }
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
