//! Ethernet segments of machines: a bridge of the host with an address of its own, and a tap for each machine.
//!
//! A tap goes with the process that has it open. A bridge does not: it is on record in the run's directory before it is
//! made, so that the next start removes it when virtmark was killed.

mod control;
mod subnet;

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::PoisonError;

pub(crate) use control::{bridge_name, is_bridge_of, remove_bridge};

use control::Control;
pub use subnet::PREFIX_BITS;
use subnet::{FIRST_GUEST, LAST_GUEST, Subnet};

/// Number of the right to change interfaces (capabilities(7)).
const CAP_NET_ADMIN: u32 = 12;

const TUN: &str = "/dev/net/tun";

/// A bridge of the host and the addresses of its network; dropping it removes the bridge.
#[derive(Debug)]
pub struct Segment {
    bridge: String,
    subnet: Subnet,
    /// The last parts of addresses that machines have.
    taken: Mutex<Vec<u8>>,
}

/// A machine's end of a segment.
#[derive(Debug)]
pub struct Tap {
    /// The open device, for the VMM: once for each of its queues.
    pub fds: Vec<OwnedFd>,
    /// The address that the machine is to have.
    pub address: Ipv4Addr,
    /// The host's address on the segment.
    pub host: Ipv4Addr,
}

/// Why this process can make no segments; `None` when it can.
pub fn refuses_segments() -> Option<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !may_change_interfaces(&status) {
        return Some("virtmark may not change network interfaces (it needs CAP_NET_ADMIN, which root has)");
    }
    match File::options().read(true).write(true).open(TUN) {
        Ok(_) => None,
        Err(_) => Some("/dev/net/tun does not open, so that there can be no taps"),
    }
}

impl Segment {
    /// Makes a bridge of this name with a network that this host has no route to. The name must be on record.
    pub(crate) fn make(bridge: &str, seed: u32) -> io::Result<Self> {
        let control = Control::open()?;
        control.add_bridge(bridge)?;
        let made = Subnet::choose(seed).and_then(|subnet| {
            control.set_address(bridge, subnet.host())?;
            control.bring_up(bridge)?;
            Ok(Self { bridge: bridge.into(), subnet, taken: Mutex::default() })
        });
        made.inspect_err(|_| {
            // The record of it stays; the first error is the one that matters.
            let _ = remove_bridge(bridge);
        })
    }

    /// Makes a tap on it for a machine, with so many queues: one at least. Fails when there is no address left, or as the
    /// kernel says.
    pub fn tap(&self, queues: u32) -> io::Result<Tap> {
        let part = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let free = (FIRST_GUEST..=LAST_GUEST).find(|part| !taken.contains(part));
            let part = free.ok_or_else(|| io::Error::other("all its addresses are taken"))?;
            taken.push(part);
            part
        };
        let address = self.subnet.address(part);
        let tap = Control::open().and_then(|control| control.add_tap(&self.bridge, queues));
        let fds = tap.inspect_err(|_| self.release(address))?;
        Ok(Tap { fds, address, host: self.subnet.host() })
    }

    /// Takes back the address of a machine that is gone.
    pub fn release(&self, address: Ipv4Addr) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|part| self.subnet.address(*part) != address);
    }

    /// The name of its bridge.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // What stays goes with the run's directory.
        let _ = remove_bridge(&self.bridge);
    }
}

fn may_change_interfaces(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    capabilities.is_some_and(|bits| bits >> CAP_NET_ADMIN & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_is_read_from_the_effective_set() {
        assert!(may_change_interfaces("CapInh:\t0\nCapEff:\t0000000000001000\n"));
        assert!(!may_change_interfaces("CapPrm:\t0000000000001000\nCapEff:\t0000000000000fff\n"));
        assert!(!may_change_interfaces(""));
    }

    #[test]
    fn a_segment_has_a_bridge_while_it_lives_and_a_tap_while_that_is_open() {
        if let Some(reason) = refuses_segments() {
            eprintln!("skipped: {reason}");
            return;
        }
        let there = |name: &str| std::path::Path::new("/sys/class/net").join(name).exists();
        let name = bridge_name(&format!("{}-{:08x}", std::process::id(), std::process::id()), 7);
        let segment = Segment::make(&name, std::process::id()).unwrap();
        assert!(there(&name));
        let (one, two) = (segment.tap(1).unwrap(), segment.tap(2).unwrap());
        assert_eq!((one.fds.len(), two.fds.len()), (1, 2));
        assert_ne!(one.address, two.address);
        assert_eq!(one.host, segment.subnet.host());
        let ports = || fs::read_dir(format!("/sys/class/net/{name}/brif")).unwrap().count();
        assert_eq!(ports(), 2);
        segment.release(one.address);
        drop(one);
        assert_eq!(ports(), 1);
        assert_ne!(segment.tap(1).unwrap().address, two.address);
        drop(segment);
        assert!(!there(&name));
        assert!(remove_bridge(&name).is_ok(), "a bridge that is gone is fine");
    }
}
