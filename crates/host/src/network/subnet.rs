//! Networks that nobody on this host uses.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

/// Bits of an address on a segment that name its network.
pub const PREFIX_BITS: u8 = 24;

/// The last parts of addresses: the host's, and those of guests.
const HOST: u8 = 1;
pub(super) const FIRST_GUEST: u8 = 2;
pub(super) const LAST_GUEST: u8 = 254;

/// Networks are looked for in here, of private addresses (RFC 1918).
const POOL: [u8; 2] = [10, 213];

/// A network of 254 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    number: u8,
}

impl Subnet {
    /// One to which this host has no route. `seed` says where to begin, so that two who look at once look elsewhere.
    pub(super) fn choose(seed: u32) -> io::Result<Self> {
        let routes = fs::read_to_string("/proc/net/route")?;
        Self::free(&routes, seed).ok_or_else(|| {
            let [first, second] = POOL;
            io::Error::other(format!("this host has routes to all networks of {first}.{second}.0.0/16"))
        })
    }

    fn free(routes: &str, seed: u32) -> Option<Self> {
        let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(route).collect();
        (0..=u8::MAX).map(|offset| Self { number: (seed as u8).wrapping_add(offset) }).find(|subnet| {
            let ours = subnet.address(0).to_bits();
            let mask = !(u32::MAX >> PREFIX_BITS);
            // The default route leads everywhere, and is nobody's network.
            !taken.iter().any(|(network, bits)| *bits != 0 && ours & bits & mask == network & mask & bits)
        })
    }

    pub(super) fn host(self) -> Ipv4Addr {
        self.address(HOST)
    }

    pub(super) fn address(self, part: u8) -> Ipv4Addr {
        Ipv4Addr::new(POOL[0], POOL[1], self.number, part)
    }
}

/// The network and the mask of a line of `/proc/net/route`, where both are hexadecimal in the host's order of bytes.
fn route(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let mut address = |place| u32::from_str_radix(fields.nth(place)?, 16).ok().map(u32::to_be);
    Some((address(1)?, address(5)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_with_a_route_is_not_taken() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let default = "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let own = "br0\t0007D50A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let all = "br1\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let free = |routes: &[&str], seed| Subnet::free(&format!("{head}{}", routes.concat()), seed);
        assert_eq!(free(&[default], 7).unwrap().host(), Ipv4Addr::new(10, 213, 7, 1));
        assert_eq!(free(&[default, own], 7).unwrap().host(), Ipv4Addr::new(10, 213, 8, 1));
        assert_eq!(free(&[default, own], 0x1ff).unwrap().host(), Ipv4Addr::new(10, 213, 255, 1));
        assert_eq!(free(&[default, all], 7), None);
        assert_eq!(route(own), Some((0x0ad5_0700, 0xffff_ff00)));
    }
}
