//! Sandboxes made, used and destroyed over HTTP, many times over: nothing of them may stay.
//!
//! `cargo run --release -p virtmark-sandbox --example soak -- [--cycles N] [--virtmark PROGRAM]`
//!
//! `virtmark serve` runs as a child, with its state, run and scratch directories in a temporary place. After some cycles
//! that fill its caches, its descriptors, threads, processes, files, cgroups and memory are noted, and compared with
//! what it has after all the others. A cycle that fails, and anything that is left, is a failure.

mod footprint;
mod service;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use virtmark_driver_endpoint::{Endpoint, EndpointOptions, Mapping};
use virtmark_hypervisor::{Command, Hypervisor, MachineSpec};

use footprint::Footprint;
use service::Service;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Cycles before the first look: templates, pools of threads and of connections, and allocations that stay.
const WARM_UP: u32 = 20;
const DEFAULT_CYCLES: u32 = 1000;
/// How long the service may take to be rid of what the last cycle left, which it does after its answer.
const SETTLE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let Arguments { cycles, virtmark } = Arguments::read()?;
    let service = Service::start(&virtmark)?;
    let endpoint = Endpoint::new(EndpointOptions {
        start: Some("template".into()),
        ..EndpointOptions::new(&service.url, Mapping::virtmark()?)
    })?;
    for number in 0..WARM_UP {
        cycle(&endpoint, number)?;
    }
    let before = service.footprint()?;
    eprintln!("after {WARM_UP} cycles: {before}");

    let began = Instant::now();
    for number in 0..cycles {
        cycle(&endpoint, WARM_UP + number).map_err(|error| format!("cycle {}: {error}", number + 1))?;
        if (number + 1) % 100 == 0 {
            eprintln!("after {} more: {}", number + 1, service.footprint()?);
        }
    }
    let each_ms = began.elapsed().as_millis() / u128::from(cycles);
    let after = settled(&service, &before)?;
    eprintln!("at the end: {after} ({each_ms} ms a cycle)");

    let left = after.beyond(&before);
    service.stop()?;
    if !left.is_empty() {
        return Err(format!("{cycles} cycles left {}", left.join("; ")).into());
    }
    println!("{cycles} cycles of create, exec and destroy left nothing behind");
    Ok(())
}

struct Arguments {
    cycles: u32,
    virtmark: PathBuf,
}

impl Arguments {
    fn read() -> Result<Self> {
        let mut arguments = std::env::args_os().skip(1);
        let mut read = Self { cycles: DEFAULT_CYCLES, virtmark: "target/release/virtmark".into() };
        while let Some(name) = arguments.next() {
            let name = name.to_string_lossy().into_owned();
            let value = arguments.next().ok_or_else(|| format!("{name} lacks its value"))?;
            match name.as_str() {
                "--cycles" => read.cycles = value.to_string_lossy().parse()?,
                "--virtmark" => read.virtmark = value.into(),
                _ => return Err(format!("{name} is unknown; there are --cycles and --virtmark").into()),
            }
        }
        if read.cycles == 0 {
            return Err("0 cycles would show nothing".into());
        }
        Ok(read)
    }
}

/// A sandbox from its beginning to its end. What its guest has to say is checked.
fn cycle(endpoint: &Endpoint, number: u32) -> Result<()> {
    let spec = MachineSpec {
        name: format!("soak-{number}"),
        // The service chooses the sizes.
        vcpus: 0,
        memory_bytes: 0,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: true,
        ready_timeout: Duration::from_secs(60),
    };
    let (mut machine, _) = endpoint.create(&spec)?;
    machine.start()?;
    let output = machine.guest()?.exec(&Command::shell(format!("echo cycle {number}")))?;
    if output.stdout != format!("cycle {number}\n").as_bytes() {
        return Err(format!("the guest answered {:?}", String::from_utf8_lossy(&output.stdout)).into());
    }
    machine.destroy()?;
    Ok(())
}

/// What the service has when it is through with the last cycle; what stays for long is there to stay.
fn settled(service: &Service, before: &Footprint) -> Result<Footprint> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let after = service.footprint()?;
        if after.beyond(before).is_empty() || Instant::now() > deadline {
            return Ok(after);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
