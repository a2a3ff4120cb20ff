//! The guest's addresses, as the host chose them: `virtmark.net=MAC,ADDRESS/BITS[,GATEWAY]` on the kernel command line,
//! once for each interface.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// How long an interface whose driver has just been loaded may take to show.
const INTERFACE_TIMEOUT: Duration = Duration::from_secs(5);

const LOOPBACK: &str = "lo";

/// One interface that the host asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    mac: &'a str,
    address: Ipv4Addr,
    prefix_bits: u8,
    gateway: Option<Ipv4Addr>,
}

/// Brings up the loopback interface and those that the values of `virtmark.net` describe. What cannot be is reported.
pub(crate) fn set_up<'a>(values: impl Iterator<Item = &'a str>) {
    report(LOOPBACK, Control::open().and_then(|control| control.bring_up(LOOPBACK)));
    for value in values {
        match Wanted::parse(value) {
            Some(wanted) => report(value, wanted.set_up()),
            None => eprintln!("virtmark-agent: virtmark.net={value} is not MAC,ADDRESS/BITS[,GATEWAY]"),
        }
    }
}

fn report(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("virtmark-agent: cannot set up the network interface {what}: {error}");
    }
}

impl<'a> Wanted<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut parts = value.split(',');
        let mac = parts.next().filter(|mac| mac.len() == 17)?;
        let (address, bits) = parts.next()?.split_once('/')?;
        let gateway = parts.next().map(str::parse).transpose().ok()?;
        let prefix_bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
        let wanted = Self { mac, address: address.parse().ok()?, prefix_bits, gateway };
        parts.next().is_none().then_some(wanted)
    }

    fn set_up(&self) -> io::Result<()> {
        let name = wait_for_interface(self.mac)?;
        let control = Control::open()?;
        let told =
            |action: &str, error: io::Error| io::Error::new(error.kind(), format!("{action}: {error}"));
        control
            .set_address(&name, libc::SIOCSIFADDR, self.address)
            .map_err(|e| told("set its address", e))?;
        let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.prefix_bits)).unwrap_or(0));
        control.set_address(&name, libc::SIOCSIFNETMASK, mask).map_err(|e| told("set its mask", e))?;
        control.bring_up(&name).map_err(|error| told("bring it up", error))?;
        match self.gateway {
            Some(gateway) => control.add_default_route(gateway).map_err(|e| told("add the default route", e)),
            None => Ok(()),
        }
    }
}

fn wait_for_interface(mac: &str) -> io::Result<String> {
    let deadline = Instant::now() + INTERFACE_TIMEOUT;
    loop {
        let mut entries = fs::read_dir("/sys/class/net")?.filter_map(Result::ok);
        let found = entries.find(|entry| {
            fs::read_to_string(entry.path().join("address")).is_ok_and(|text| text.trim() == mac)
        });
        if let Some(name) = found.and_then(|entry| entry.file_name().into_string().ok()) {
            return Ok(name);
        }
        if Instant::now() >= deadline {
            let message = format!("there is none with the hardware address {mac}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A socket through which interfaces are changed (netdevice(7)).
struct Control(OwnedFd);

/// `struct rtentry` of `linux/route.h`.
#[repr(C)]
struct RouteEntry {
    pad1: libc::c_ulong,
    destination: libc::sockaddr,
    gateway: libc::sockaddr,
    mask: libc::sockaddr,
    flags: libc::c_ushort,
    pad2: libc::c_short,
    pad3: libc::c_ulong,
    pad4: *mut libc::c_void,
    metric: libc::c_short,
    device: *mut libc::c_char,
    mtu: libc::c_ulong,
    window: libc::c_ulong,
    round_trip: libc::c_ushort,
}

impl Control {
    fn open() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
        Ok(Self(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?))
    }

    fn set_address(&self, name: &str, request: libc::Ioctl, address: Ipv4Addr) -> io::Result<()> {
        let mut wanted = interface(name)?;
        wanted.ifr_ifru.ifru_addr = socket_address(address);
        self.ask(request, &mut wanted)
    }

    #[allow(unsafe_code)]
    fn bring_up(&self, name: &str) -> io::Result<()> {
        let mut wanted = interface(name)?;
        self.ask(libc::SIOCGIFFLAGS, &mut wanted)?;
        // SAFETY: SIOCGIFFLAGS has filled in the flags, and any bits are valid ones.
        unsafe { wanted.ifr_ifru.ifru_flags |= (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short };
        self.ask(libc::SIOCSIFFLAGS, &mut wanted)
    }

    fn add_default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        let everywhere = socket_address(Ipv4Addr::UNSPECIFIED);
        let mut route = RouteEntry {
            pad1: 0,
            destination: everywhere,
            gateway: socket_address(gateway),
            mask: everywhere,
            flags: libc::RTF_UP | libc::RTF_GATEWAY,
            pad2: 0,
            pad3: 0,
            pad4: std::ptr::null_mut(),
            metric: 0,
            device: std::ptr::null_mut(),
            mtu: 0,
            window: 0,
            round_trip: 0,
        };
        self.ask(libc::SIOCADDRT, &mut route)
    }

    /// Makes a request whose argument is a `T`.
    #[allow(unsafe_code)]
    fn ask<T>(&self, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
        // SAFETY: every request that this module makes takes a pointer to the structure it is given here, and keeps
        // nothing of it.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(argument)) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A request about the interface `name`, with nothing else in it.
fn interface(name: &str) -> io::Result<libc::ifreq> {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    if name.len() >= ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its name is too long"));
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
    fn interfaces_are_described_in_whole_or_not_at_all() {
        let mac = "52:54:00:12:34:56";
        let address = Ipv4Addr::new(10, 0, 2, 15);
        let wanted = Wanted { mac, address, prefix_bits: 24, gateway: None };
        assert_eq!(Wanted::parse("52:54:00:12:34:56,10.0.2.15/24"), Some(wanted));
        let gateway = Wanted::parse("52:54:00:12:34:56,10.0.2.15/24,10.0.2.2").unwrap().gateway;
        assert_eq!(gateway, Some(Ipv4Addr::new(10, 0, 2, 2)));
        for wrong in
            ["", mac, "52:54:00:12:34:56,10.0.2.15", "52:54:00:12:34:56,10.0.2.15/33", "x,10.0.2.15/24"]
        {
            assert_eq!(Wanted::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Wanted::parse("52:54:00:12:34:56,10.0.2.15/24,10.0.2.2,more"), None);
    }

    #[test]
    fn a_socket_address_is_the_kernels() {
        let address = socket_address(Ipv4Addr::new(192, 168, 1, 200));
        assert_eq!(address.sa_family, 2);
        assert_eq!(address.sa_data.map(|byte| byte as u8)[..8], [0, 0, 192, 168, 1, 200, 0, 0]);
        assert!(interface("a-name-of-16-byt").is_err() && interface("eth0").is_ok());
    }
}
