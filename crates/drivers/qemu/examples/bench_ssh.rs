//! How long a machine of the image bench takes until its agent answers, until its SSH server greets, and until OpenSSH's
//! client has the output of a first command.
//!
//! ```text
//! cargo run --release --package virtmark-driver-qemu --example bench_ssh -- [ROUNDS] [COMMAND]
//! ```
//!
//! COMMAND is run by the agent at the end of each round, and its output printed.
#![allow(clippy::unwrap_used, reason = "a failure ends the measurement")]

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use virtmark_driver_qemu::{AcceleratorChoice, Qemu, QemuOptions};
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{BootImage, Command as GuestCommand, Hypervisor, MachineSpec, Network, ssh};
use virtmark_image::{BenchRecipe, Store, TinyRecipe};

const NAMES: [&str; 4] = ["agent", "host key", "greeting", "command"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(5, |text| text.parse().unwrap());
    let command = arguments.next();
    let store = Store::open(Store::default_dir().unwrap()).unwrap();
    let recipe = BenchRecipe::new(TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec()));
    let held = store.ensure_bench(&recipe, &mut |words| eprintln!("{words}")).unwrap();
    let image = BootImage::of(&held);
    let key = store.ensure_key_pair().unwrap();
    let run_dir = Arc::new(RunDir::create().unwrap());
    let options = QemuOptions {
        program: None,
        accelerator: AcceleratorChoice::Auto,
        cache: store.dir().to_path_buf(),
        vcpus: 1,
    };
    let qemu = Qemu::new(&options, &image, Arc::clone(&run_dir), &mut |words| eprintln!("{words}")).unwrap();
    println!("seconds from create, under {}", qemu.facts().execution().unwrap());
    println!("round\t{}", NAMES.join("\t"));
    let mut all: [Vec<f64>; 4] = Default::default();
    for round in 0..rounds {
        let spec = MachineSpec {
            name: format!("bench-{round}"),
            vcpus: 1,
            memory_bytes: 256 << 20,
            image: Some(image.clone()),
            disks: Vec::new(),
            networks: vec![Network::User { forwards: vec![22], restricted: true }],
            kernel_arguments: vec![key.kernel_argument()],
            snapshots: false,
            confined: false,
            ready_timeout: Duration::from_secs(120),
        };
        let began = Instant::now();
        let deadline = began + Duration::from_secs(120);
        let (mut machine, _) = qemu.create(&spec).unwrap();
        machine.start().unwrap();
        let agent = began.elapsed();
        let guest = machine.guest().unwrap();
        let host_key = ssh::host_key(&*guest, deadline).unwrap();
        let keyed = began.elapsed();
        let address = machine.reach(22).unwrap();
        ssh::wait(address, deadline).unwrap();
        let greeted = began.elapsed();
        let known_hosts = run_dir.path().join("known_hosts");
        fs::write(&known_hosts, host_key.known_hosts_line(address)).unwrap();
        let output = Command::new("ssh")
            .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o"])
            .arg(format!("UserKnownHostsFile={}", known_hosts.display()))
            .arg("-i")
            .arg(&key.private)
            .args(["-p", &address.port().to_string(), &format!("root@{}", address.ip()), "true"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let times = [agent, keyed, greeted, began.elapsed()].map(|time| time.as_secs_f64());
        println!("{round}\t{}", times.map(|time| format!("{time:.2}")).join("\t"));
        all.iter_mut().zip(times).for_each(|(values, time)| values.push(time));
        if let Some(command) = &command {
            let output = guest.exec(&GuestCommand::shell(command)).unwrap();
            print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
    }
    let medians = all.map(|mut values| {
        values.sort_by(f64::total_cmp);
        format!("{:.2}", values[values.len() / 2])
    });
    println!("median\t{}", medians.join("\t"));
}
