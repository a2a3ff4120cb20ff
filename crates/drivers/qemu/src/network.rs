//! Network interfaces of machines: what QEMU and the guest are told, and which ports of the host were taken.
//!
//! A network of a machine's own is QEMU's user-mode network; the kernel picks the ports of the host, so that nobody can
//! take them in between. A shared one is a bridge with a tap for each machine, which QEMU inherits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

use virtmark_host::network::{PREFIX_BITS, Segment};
use virtmark_host::process::Spawn;
use virtmark_host::rundir::RunDir;
use virtmark_hypervisor::{Error, Interface, Mac, MachineSpec, Network, Reach, Result};

use crate::tuning::{LARGE_QUEUE_SIZE, Tuning};

/// Interfaces of a machine at most: their user-mode networks are told apart by a part of their addresses.
const MOST: usize = 8;

/// Start the hardware addresses of QEMU's machines: those on networks of their own, where no other machine is, and those
/// on shared ones, which go on with parts of their address there.
const MAC_PREFIX: [u8; 3] = [0x52, 0x54, 0];
const SHARED_MAC_PREFIX: [u8; 3] = [0x52, 0x54, 0x80];

/// The kernel's part of a network interface.
const VHOST: &str = "/dev/vhost-net";

/// Last parts of addresses on a user-mode network: QEMU's own for the host, and its usual one for the guest.
const USER_GATEWAY: u8 = 2;
const USER_GUEST: u8 = 15;

/// The segments of one platform, by name.
#[derive(Debug, Default)]
pub(crate) struct Segments(Mutex<BTreeMap<String, Arc<Segment>>>);

impl Segments {
    /// The segment of this name, made if there is none.
    fn get(&self, name: &str, run_dir: &RunDir) -> io::Result<Arc<Segment>> {
        let mut segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = segments.get(name) {
            return Ok(Arc::clone(segment));
        }
        let made = Arc::new(run_dir.segment()?);
        segments.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

/// One interface of a machine that is being made.
#[derive(Debug)]
pub(crate) struct Nic {
    interface: Interface,
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Tap { queues: TapQueues, lease: Lease },
    User { forwards: Vec<u16>, restricted: bool },
}

/// What a VMM inherits of a tap.
#[derive(Debug)]
struct TapQueues {
    /// The device, once for each queue.
    fds: Vec<RawFd>,
    /// The kernel's part, as many times; none where QEMU moves the packets.
    vhost: Vec<RawFd>,
}

/// An address on a segment, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    segment: Arc<Segment>,
    address: Ipv4Addr,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.segment.release(self.address);
    }
}

/// The interfaces of a machine, in the order of its specification, and what they hold on the host.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    pub(crate) interfaces: Vec<Interface>,
    _leases: Vec<Lease>,
}

/// Makes what the interfaces of a machine need on the host, and has its VMM inherit it.
pub(crate) fn prepare(
    segments: &Segments,
    run_dir: &RunDir,
    spec: &MachineSpec,
    tuning: &Tuning,
    spawn: &mut Spawn,
) -> Result<Vec<Nic>> {
    let failed = |source: io::Error| Error::io(format!("connect {} to its networks", spec.name))(source);
    if spec.networks.len() > MOST {
        let reason = format!("it is to have {} interfaces, and can have {MOST}", spec.networks.len());
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
    }
    let nics = (0..).zip(&spec.networks).map(|(number, network)| match network {
        Network::Shared { segment } => {
            let segment = segments.get(segment, run_dir)?;
            let tap = segment.tap(tuning.network_queues.unwrap_or(1))?;
            let lease = Lease { segment, address: tap.address };
            let mut queues = TapQueues { fds: Vec::new(), vhost: Vec::new() };
            for fd in tap.fds {
                queues.fds.push(spawn.pass_fd(fd));
                if tuning.vhost {
                    let vhost = File::options().read(true).write(true).open(VHOST)?;
                    queues.vhost.push(spawn.pass_fd(vhost.into()));
                }
            }
            Ok(Nic::shared(tap.address, queues, lease))
        }
        Network::User { forwards, restricted } => {
            let mut forwards = forwards.clone();
            forwards.sort_unstable();
            forwards.dedup();
            Ok(Nic::user(number, forwards, *restricted))
        }
    });
    nics.collect::<io::Result<_>>().map_err(failed)
}

impl Nic {
    fn shared(address: Ipv4Addr, queues: TapQueues, lease: Lease) -> Self {
        let [_, b, c, d] = address.octets();
        let interface = Interface {
            mac: Mac([SHARED_MAC_PREFIX[0], SHARED_MAC_PREFIX[1], SHARED_MAC_PREFIX[2], b, c, d]),
            address,
            prefix_bits: PREFIX_BITS,
            // The host is on the segment, and hands nothing on.
            gateway: None,
            reach: Reach::Direct,
        };
        Self { interface, backend: Backend::Tap { queues, lease } }
    }

    /// The same for every machine with such an interface: one that goes on from a snapshot has what it had.
    fn user(number: u8, forwards: Vec<u16>, restricted: bool) -> Self {
        let [x, y, z] = MAC_PREFIX;
        let part = |last| Ipv4Addr::new(10, 0, 2 + number, last);
        let interface = Interface {
            mac: Mac([x, y, z, 0, 0, number + 1]),
            address: part(USER_GUEST),
            prefix_bits: 24,
            gateway: (!restricted).then(|| part(USER_GATEWAY)),
            reach: Reach::Forwarded(Vec::new()),
        };
        Self { interface, backend: Backend::User { forwards, restricted } }
    }

    /// What QEMU is told of interface `number`. `vectors` goes to a device with one pair of queues.
    pub(crate) fn arguments(&self, number: usize, vectors: &str, tuning: &Tuning) -> [OsString; 4] {
        let address = self.interface.address;
        let mut vectors = vectors.to_owned();
        let netdev = match &self.backend {
            Backend::Tap { queues, .. } => {
                if let pairs @ 2.. = queues.fds.len() {
                    // Two for each pair, one for changes of the configuration, one for the control queue.
                    vectors = format!(",mq=on,vectors={}", 2 * pairs + 2);
                }
                format!("tap,id=net{number},{}", queues.arguments())
            }
            Backend::User { forwards, restricted } => {
                let [a, b, c, _] = address.octets();
                let restrict = if *restricted { "on" } else { "off" };
                let forwards: String = forwards
                    .iter()
                    .map(|port| format!(",hostfwd=tcp:127.0.0.1:0-{address}:{port}"))
                    .collect();
                format!("user,id=net{number},ipv6=off,restrict={restrict},net={a}.{b}.{c}.0/24{forwards}")
            }
        };
        // What it sends goes through a shorter queue in any case, which QEMU makes no longer without a back end outside.
        let size = match tuning.large_queues {
            true => format!(",rx_queue_size={LARGE_QUEUE_SIZE}"),
            false => String::new(),
        };
        // Without a boot program of its own: nothing is booted from it.
        let device = format!(
            "virtio-net-pci,id=nic{number},netdev=net{number},mac={},romfile=,disable-legacy=on{vectors}{size}",
            self.interface.mac
        );
        ["-netdev".into(), netdev.into(), "-device".into(), device.into()]
    }

    /// What the agent is told of it, on the kernel command line.
    pub(crate) fn kernel_argument(&self) -> String {
        let Interface { mac, address, prefix_bits, gateway, .. } = &self.interface;
        let gateway = gateway.map(|gateway| format!(",{gateway}")).unwrap_or_default();
        format!("virtmark.net={mac},{address}/{prefix_bits}{gateway}")
    }
}

impl TapQueues {
    fn arguments(&self) -> String {
        let option = |name: &str, fds: &[RawFd]| match fds {
            [fd] => format!("{name}fd={fd}"),
            fds => {
                let fds: Vec<String> = fds.iter().map(RawFd::to_string).collect();
                format!("{name}fds={}", fds.join(":"))
            }
        };
        let device = option("", &self.fds);
        match &self.vhost[..] {
            [] => device,
            vhost => format!("{device},vhost=on,{}", option("vhost", vhost)),
        }
    }
}

/// Whether QEMU has to be asked which ports of the host it took.
pub(crate) fn has_forwards(nics: &[Nic]) -> bool {
    nics.iter().any(|nic| matches!(&nic.backend, Backend::User { forwards, .. } if !forwards.is_empty()))
}

/// The interfaces that a machine has, of what QEMU answered to `info usernet`. Fails with what is missing in that.
pub(crate) fn connected(nics: Vec<Nic>, usernet: &str) -> std::result::Result<Interfaces, String> {
    let mut found = Interfaces::default();
    for Nic { mut interface, backend } in nics {
        match backend {
            Backend::Tap { lease, .. } => found._leases.push(lease),
            Backend::User { forwards, .. } => {
                let ports = forwards.into_iter().map(|port| {
                    let host = host_port(usernet, interface.address, port);
                    host.map(|host| (port, host)).ok_or_else(|| {
                        format!("QEMU took no port of the host for the guest's port {port}: {usernet:?}")
                    })
                });
                interface.reach = Reach::Forwarded(ports.collect::<std::result::Result<_, _>>()?);
            }
        }
        found.interfaces.push(interface);
    }
    Ok(found)
}

/// Where on the host the TCP port `port` of the guest at `address` is. Lines of forwarded ports are
/// `TCP[HOST_FORWARD]  FD  ADDRESS PORT  GUEST-ADDRESS GUEST-PORT  …`.
fn host_port(usernet: &str, address: Ipv4Addr, port: u16) -> Option<SocketAddr> {
    usernet.lines().find_map(|line| {
        let fields: Vec<&str> =
            line.trim().strip_prefix("TCP[HOST_FORWARD]")?.split_ascii_whitespace().collect();
        let [_, host, host_port, guest, guest_port, ..] = fields[..] else { return None };
        let is_it = guest.parse() == Ok(address) && guest_port.parse() == Ok(port);
        let host: Ipv4Addr = host.parse().ok()?;
        is_it.then_some((host, host_port.parse().ok()?).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERNET: &str = "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
        TCP[HOST_FORWARD]   9       127.0.0.1 44461       10.0.2.15    22     0     0\r\n  \
        TCP[HOST_FORWARD]   3       127.0.0.1 38657       10.0.3.15    22     0     0\r\n";

    #[test]
    fn ports_are_those_that_qemu_took_for_this_guest() {
        let nics = || vec![Nic::user(0, vec![22], true), Nic::user(1, vec![22], false)];
        let found = connected(nics(), USERNET).unwrap().interfaces;
        assert_eq!(found[0].reach(22), Some(([127, 0, 0, 1], 44461).into()));
        assert_eq!(found[1].reach(22), Some(([127, 0, 0, 1], 38657).into()));
        let missing = connected(vec![Nic::user(0, vec![80], true)], USERNET).unwrap_err();
        assert!(missing.contains("port 80"), "{missing}");
        assert!(has_forwards(&nics()) && !has_forwards(&[Nic::user(0, vec![], true)]));
    }

    #[test]
    fn taps_have_a_descriptor_for_each_queue_and_as_many_of_the_kernels() {
        let queues = |fds: &[RawFd], vhost: &[RawFd]| {
            TapQueues { fds: fds.to_vec(), vhost: vhost.to_vec() }.arguments()
        };
        assert_eq!(queues(&[5], &[]), "fd=5");
        assert_eq!(queues(&[5, 6], &[]), "fds=5:6");
        assert_eq!(queues(&[5], &[7]), "fd=5,vhost=on,vhostfd=7");
        assert_eq!(queues(&[5, 6], &[7, 8]), "fds=5:6,vhost=on,vhostfds=7:8");
    }

    #[test]
    fn long_queues_are_those_in_which_an_interface_receives() {
        let nic = Nic::user(0, vec![], true);
        let device = |tuning: &Tuning| nic.arguments(0, "", tuning)[3].clone().into_string().unwrap();
        let usual = device(&Tuning::default());
        let large = device(&Tuning { large_queues: true, ..Tuning::default() });
        assert_eq!(large, format!("{usual},rx_queue_size=1024"));
        // A network of its own has one queue, and is none of the kernel's.
        let taps_only = Tuning { network_queues: Some(2), vhost: true, ..Tuning::default() };
        assert_eq!(device(&taps_only), usual);
    }

    #[test]
    fn qemu_and_the_guest_are_told_the_same_addresses() {
        let nic = Nic::user(1, vec![22, 80], true);
        let words = nic
            .arguments(1, ",vectors=0", &Tuning::default())
            .map(|word| word.into_string().unwrap())
            .join(" ");
        assert_eq!(
            words,
            "-netdev user,id=net1,ipv6=off,restrict=on,net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:0-10.0.3.15:22,\
             hostfwd=tcp:127.0.0.1:0-10.0.3.15:80 -device virtio-net-pci,id=nic1,netdev=net1,mac=52:54:00:00:00:02,\
             romfile=,disable-legacy=on,vectors=0"
        );
        assert_eq!(nic.kernel_argument(), "virtmark.net=52:54:00:00:00:02,10.0.3.15/24");
        let open = Nic::user(0, vec![], false);
        assert_eq!(open.kernel_argument(), "virtmark.net=52:54:00:00:00:01,10.0.2.15/24,10.0.2.2");
    }
}
