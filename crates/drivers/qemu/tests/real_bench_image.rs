//! The image bench in real machines: its tools by the agent, and OpenSSH's own client through a forwarded port and on a
//! shared network.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use virtmark_hypervisor::{
    BootImage, Capability, Command as GuestCommand, GuestLink, Hypervisor, Machine, MachineSpec, Network, ssh,
};
use virtmark_image::{BenchRecipe, KeyPair, Store, TinyRecipe};

use common::{Place, interfaces_with};

const SSH_PORT: u16 = 22;
const PATIENCE: Duration = Duration::from_secs(120);

/// A place whose machines boot the image bench, and who may enter them.
struct Bench {
    place: Place,
    image: BootImage,
    key: KeyPair,
}

impl Bench {
    fn new() -> Self {
        let store = Store::open(Store::default_dir().unwrap()).unwrap();
        let recipe = BenchRecipe::new(TinyRecipe::new(virtmark_agent_binary::AGENT.to_vec()));
        let image = store.ensure_bench(&recipe, &mut |words| eprintln!("{words}")).unwrap();
        let key = store.ensure_key_pair().unwrap();
        Self { place: Place::new(), image: BootImage::of(&image), key }
    }

    fn started(&self, name: &str, network: Network) -> Box<dyn Machine> {
        self.place.started(&MachineSpec {
            memory_bytes: 256 << 20,
            image: Some(self.image.clone()),
            networks: vec![network],
            kernel_arguments: vec![self.key.kernel_argument()],
            snapshots: false,
            ..self.place.spec(name)
        })
    }

    /// Runs a command by OpenSSH's client, which knows these host keys and no others.
    fn ssh(&self, address: SocketAddr, known_hosts: &Path, command: &str) -> Output {
        let known = format!("UserKnownHostsFile={}", known_hosts.display());
        Command::new("ssh")
            .args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", &known])
            .args(["-o", "ConnectTimeout=60", "-i"])
            .arg(&self.key.private)
            .args(["-p", &address.port().to_string(), &format!("root@{}", address.ip()), command])
            .output()
            .unwrap()
    }
}

fn told(guest: &dyn GuestLink, line: &str) -> String {
    let output = guest.exec(&GuestCommand::shell(line)).unwrap();
    assert!(output.success(), "{line}: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn real_openssh_enters_a_bench_machine_and_its_tools_answer() {
    let bench = Bench::new();
    let began = Instant::now();
    let machine = bench.started("machine-1", Network::User { forwards: vec![SSH_PORT], restricted: true });
    eprintln!("the agent answered after {:.2} s", began.elapsed().as_secs_f64());
    let guest = machine.guest().unwrap();
    let address = machine.reach(SSH_PORT).unwrap();
    assert!(address.ip().is_loopback() && machine.reach(80).is_none());

    let host_key = ssh::host_key(&*guest, began + PATIENCE).unwrap();
    eprintln!("the host key was there after {:.2} s", began.elapsed().as_secs_f64());
    ssh::wait(address, began + PATIENCE).unwrap();
    eprintln!("the SSH server answered after {:.2} s", began.elapsed().as_secs_f64());
    let known_hosts = bench.place.path("known_hosts");
    fs::write(&known_hosts, host_key.known_hosts_line(address)).unwrap();
    let output = bench.ssh(address, &known_hosts, "hostname; id -u; exit 7");
    eprintln!("the first command by SSH ended after {:.2} s", began.elapsed().as_secs_f64());
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "machine-1\n0\n");

    // The key of another machine is not taken for this one's.
    let other = ssh::HostKey { public: bench.key.public.clone() };
    fs::write(&known_hosts, other.known_hosts_line(address)).unwrap();
    let refused = bench.ssh(address, &known_hosts, "true");
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Host key verification failed"), "{refused:?}");

    let versions = [
        ("sysbench --version", "sysbench "),
        ("fio --version", "fio-"),
        ("iperf3 --version | head -n 1", "iperf 3"),
        ("stress-ng --version", "stress-ng, version "),
        ("ping -V", "ping from iputils "),
        ("openssl version", "OpenSSL "),
        ("sshd -V 2>&1 | head -n 1; ssh -V 2>&1", "OpenSSH_"),
    ];
    for (line, expected) in versions {
        let version = told(&*guest, line);
        eprintln!("{line}: {version}");
        assert!(version.contains(expected), "{line}: {version}");
    }
    // The root is the disk's, can be written to, and has room.
    assert_eq!(told(&*guest, "cat /etc/debian_version | cut -d. -f1"), "12");
    told(&*guest, "dd if=/dev/zero of=/opt/file bs=1M count=64 2>/dev/null && sync && rm /opt/file");
    let free: u64 = told(&*guest, "df --output=avail -B1 / | tail -n 1").parse().unwrap();
    assert!(free > 900 << 20, "{free} bytes are free");
    assert_eq!(told(&*guest, "stat -c '%u %a' /root /etc/shadow /usr/bin/passwd"), "0 700\n0 640\n0 4755");
}

#[test]
fn real_restricted_guests_reach_nothing_and_others_reach_the_host() {
    let place = Place::new();
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    host.set_nonblocking(true).unwrap();
    let port = host.local_addr().unwrap().port();
    for (name, restricted) in [("shut", true), ("open", false)] {
        let network = Network::User { forwards: Vec::new(), restricted };
        let machine = place.started(&MachineSpec { networks: vec![network], ..place.spec(name) });
        assert_eq!(machine.interfaces()[0].gateway.is_none(), restricted);
        let line = format!("echo word | timeout 3 nc 10.0.2.2 {port}; true");
        told(&*machine.guest().unwrap(), &line);
        assert_eq!(host.accept().is_err(), restricted, "{name}");
    }
}

#[test]
fn real_bench_machines_reach_each_other_and_have_their_own_host_keys() {
    let bench = Bench::new();
    if let Some(reason) = bench.place.qemu.capabilities().reason_absent(Capability::SharedNetwork) {
        eprintln!("skipped: {reason}");
        return;
    }
    let began = Instant::now();
    let shared = || Network::Shared { segment: "private".into() };
    let machines = [bench.started("one", shared()), bench.started("two", shared())];
    let addresses = machines.each_ref().map(|machine| machine.reach(SSH_PORT).unwrap());
    assert_ne!(addresses[0], addresses[1]);
    let keys = machines
        .each_ref()
        .map(|machine| ssh::host_key(&*machine.guest().unwrap(), began + PATIENCE).unwrap());
    assert_ne!(keys[0].public, keys[1].public);
    let lines: String = (0..2).map(|at| keys[at].known_hosts_line(addresses[at])).collect();
    let known_hosts = bench.place.path("known_hosts");
    fs::write(&known_hosts, lines).unwrap();
    for (machine, address) in machines.iter().zip(addresses) {
        ssh::wait(address, began + PATIENCE).unwrap();
        let output = bench.ssh(address, &known_hosts, "cat /proc/sys/kernel/random/boot_id");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let boot_id = told(&*machine.guest().unwrap(), "cat /proc/sys/kernel/random/boot_id");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), boot_id);
    }
    let guest = machines[0].guest().unwrap();
    told(&*guest, &format!("ping -c 3 -W 5 {}", addresses[1].ip()));
    // Their names have the random part of the run's id.
    let mark = bench.place.run_dir.id().split_once('-').unwrap().1.to_owned();
    let left = || interfaces_with(&mark);
    assert_eq!(left().len(), 3, "{:?}", left());
    drop(machines);
    drop(bench);
    assert_eq!(left(), Vec::<String>::new());
}
