//! Interfaces of the host, by the requests of netdevice(7), `linux/if_bridge.h` and `linux/if_tun.h`.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{PREFIX_BITS, TUN};

/// Starts the names of our bridges and of their taps, of which 15 characters are possible.
const BRIDGE_PREFIX: &str = "vmb";
const TAP_PREFIX: &str = "vmt";

/// Requests that `libc` does not have (`linux/sockios.h`).
const SIOCBRADDBR: libc::Ioctl = 0x89a0;
const SIOCBRDELBR: libc::Ioctl = 0x89a1;
const SIOCBRADDIF: libc::Ioctl = 0x89a2;

/// The name of a bridge of the run `id`.
pub(crate) fn bridge_name(id: &str, number: usize) -> String {
    format!("{BRIDGE_PREFIX}{}{number}", mark(id))
}

/// Whether a bridge of this name may be one of the run `id`.
pub(crate) fn is_bridge_of(name: &str, id: &str) -> bool {
    let number = name.strip_prefix(BRIDGE_PREFIX).and_then(|rest| rest.strip_prefix(mark(id)));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The random part of a run's id.
fn mark(id: &str) -> &str {
    id.split_once('-').map_or(id, |(_, random)| random)
}

/// Removes a bridge. None of this name is fine.
pub(crate) fn remove_bridge(name: &str) -> io::Result<()> {
    if !Path::new("/sys/class/net").join(name).join("bridge").is_dir() {
        return Ok(());
    }
    let control = Control::open()?;
    let mut wanted = interface(name)?;
    // One that is up cannot be removed. SIOCSIFFLAGS without IFF_UP takes it down.
    control.ask(libc::SIOCSIFFLAGS, &mut wanted)?;
    match control.named(SIOCBRDELBR, name) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => Ok(()),
        result => result,
    }
}

/// A socket through which interfaces are changed.
pub(super) struct Control(OwnedFd);

impl Control {
    pub(super) fn open() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
        Ok(Self(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?))
    }

    pub(super) fn add_bridge(&self, name: &str) -> io::Result<()> {
        self.named(SIOCBRADDBR, name)
    }

    /// Gives an interface this address on a network of [`PREFIX_BITS`].
    pub(super) fn set_address(&self, name: &str, address: Ipv4Addr) -> io::Result<()> {
        let mask = Ipv4Addr::from_bits(!(u32::MAX >> PREFIX_BITS));
        for (request, value) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, mask)] {
            let mut wanted = interface(name)?;
            wanted.ifr_ifru.ifru_addr = socket_address(value);
            self.ask(request, &mut wanted)?;
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    pub(super) fn bring_up(&self, name: &str) -> io::Result<()> {
        let mut wanted = interface(name)?;
        self.ask(libc::SIOCGIFFLAGS, &mut wanted)?;
        // SAFETY: SIOCGIFFLAGS has filled in the flags, and any bits are valid ones.
        unsafe { wanted.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
        self.ask(libc::SIOCSIFFLAGS, &mut wanted)
    }

    /// Makes a tap, which goes when it is closed, and puts it on a bridge. It is opened once for each of its queues.
    pub(super) fn add_tap(&self, bridge: &str, queues: u32) -> io::Result<Vec<OwnedFd>> {
        let open = || File::options().read(true).write(true).open(TUN);
        let device = open()?;
        // The kernel puts a number in the place of `%d`.
        let mark = bridge.strip_prefix(BRIDGE_PREFIX).unwrap_or(bridge);
        let mut wanted = interface(&format!("{TAP_PREFIX}{:.8}%d", mark))?;
        let several = if queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | several;
        wanted.ifr_ifru.ifru_flags = flags as libc::c_short;
        ask(device.as_raw_fd(), libc::TUNSETIFF, &mut wanted)?;
        let name: String = wanted
            .ifr_name
            .iter()
            .map(|byte| *byte as u8 as char)
            .take_while(|letter| *letter != '\0')
            .collect();
        let index = fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))?;
        let index = index.trim().parse().map_err(|_| io::Error::other(format!("{name} has no number")))?;
        let mut member = interface(bridge)?;
        member.ifr_ifru.ifru_ifindex = index;
        self.ask(SIOCBRADDIF, &mut member)?;
        let mut devices = vec![OwnedFd::from(device)];
        for _ in 1..queues {
            let device = open()?;
            let mut again = interface(&name)?;
            again.ifr_ifru.ifru_flags = flags as libc::c_short;
            ask(device.as_raw_fd(), libc::TUNSETIFF, &mut again)?;
            devices.push(device.into());
        }
        self.bring_up(&name)?;
        Ok(devices)
    }

    /// Makes a request whose argument is a name.
    fn named(&self, request: libc::Ioctl, name: &str) -> io::Result<()> {
        self.ask(request, &mut interface(name)?.ifr_name)
    }

    fn ask<T>(&self, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
        ask(self.0.as_raw_fd(), request, argument)
    }
}

/// Makes a request whose argument is a `T`.
#[allow(unsafe_code)]
fn ask<T>(fd: RawFd, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: every request that this module makes takes a pointer to what it is given here, and keeps nothing of it.
    match unsafe { libc::ioctl(fd, request, std::ptr::from_mut(argument)) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A request about the interface `name`, with nothing else in it.
fn interface(name: &str) -> io::Result<libc::ifreq> {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    if name.len() >= ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the name {name} is too long")));
    }
    for (target, byte) in ifr_name.iter_mut().zip(name.bytes()) {
        *target = byte as libc::c_char;
    }
    let nothing = libc::sockaddr { sa_family: 0, sa_data: [0; 14] };
    Ok(libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_addr: nothing } })
}

/// A `struct sockaddr_in`: the family, the port, the address, padding.
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut sa_data = [0; 14];
    for (target, byte) in sa_data[2..6].iter_mut().zip(address.octets()) {
        *target = byte as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_are_known_by_the_run_that_made_them() {
        let name = bridge_name("4711-0123abcd", 3);
        assert_eq!(name, "vmb0123abcd3");
        assert!(is_bridge_of(&name, "4711-0123abcd"));
        for other in ["eth0", "vmb0123abcd", "vmb0123abce3", "vmb0123abcdx", "docker0"] {
            assert!(!is_bridge_of(other, "4711-0123abcd"), "{other}");
        }
        assert!(interface("a-name-of-16-byt").is_err());
    }
}
