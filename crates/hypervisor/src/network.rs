//! How machines are connected: what is asked for, and what a machine then has.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// A network interface of a machine, as it is asked for. The platform chooses its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// On an Ethernet that all machines of one platform share which name the same segment, and the host with them.
    Shared {
        /// Its name among the segments of the platform; made at first use, gone with the platform.
        segment: String,
    },
    /// On a network of its own behind the host.
    User {
        /// TCP ports of the guest that the host's programs reach through a port on the loopback interface.
        forwards: Vec<u16>,
        /// Whether the guest reaches nothing by itself. Otherwise it reaches what the host does.
        restricted: bool,
    },
}

/// A network interface that a machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its hardware address.
    pub mac: Mac,
    /// The guest's address.
    pub address: Ipv4Addr,
    /// Bits of the address that name the network.
    pub prefix_bits: u8,
    /// Where the guest sends what is for elsewhere; `None` where nothing is.
    pub gateway: Option<Ipv4Addr>,
    /// How the host's programs reach the guest.
    pub reach: Reach,
}

/// How the host's programs reach a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At its own address.
    Direct,
    /// Through ports of the host: the guest's port, and where it is on the host.
    Forwarded(Vec<(u16, SocketAddr)>),
}

impl Interface {
    /// Where the host's programs find the TCP port `port` of the guest; `None` when there is no way to it.
    pub fn reach(&self, port: u16) -> Option<SocketAddr> {
        match &self.reach {
            Reach::Direct => Some((self.address, port).into()),
            Reach::Forwarded(forwards) => {
                forwards.iter().find(|(guest, _)| *guest == port).map(|(_, host)| *host)
            }
        }
    }
}

/// The hardware address of an Ethernet interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reached_as_the_interface_says() {
        let host = SocketAddr::from(([127, 0, 0, 1], 40001));
        let mut interface = Interface {
            mac: Mac([0x52, 0x54, 0, 1, 2, 0xab]),
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix_bits: 24,
            gateway: None,
            reach: Reach::Forwarded(vec![(22, host)]),
        };
        assert_eq!((interface.reach(22), interface.reach(23)), (Some(host), None));
        interface.reach = Reach::Direct;
        assert_eq!(interface.reach(23), Some("10.0.2.15:23".parse().unwrap()));
        assert_eq!(interface.mac.to_string(), "52:54:00:01:02:ab");
    }
}
