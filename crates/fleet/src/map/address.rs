//! Where a machine is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::DEFAULT_PORT;

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What is connected to, or looked up first.
    pub host: Host,
    /// 22 unless the map says otherwise.
    pub port: u16,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name that is looked up, in lower case.
    Name(String),
    /// An IPv6 address that means something on one interface only: `fe80::1%eth0`.
    Scoped {
        /// The address.
        ip: Ipv6Addr,
        /// The interface, by name or number.
        zone: String,
    },
}

impl Address {
    /// Reads `HOST`, `HOST:PORT` or `[HOST]:PORT`; the error says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no address; write an IP address or a host name, with :PORT behind it if need be \
                 ([ADDRESS]:PORT for IPv6)"
            )
        };
        if let Some(host) = Host::parse(text) {
            return Ok(Self { host, port: DEFAULT_PORT });
        }
        let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, ""))) => (host, None),
            Some(Some((host, port))) => (host, Some(port.strip_prefix(':').ok_or_else(expected)?)),
            Some(None) => return Err(expected()),
            None => {
                let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
                if host.contains(':') {
                    return Err(expected());
                }
                (host, Some(port))
            }
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => {
                parse_port(port).ok_or_else(|| format!("{port:?} is no port; give one from 1 to 65535"))?
            }
        };
        Ok(Self { host: Host::parse(host).ok_or_else(expected)?, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| plain && *port > 0)
}

impl Host {
    /// An address or a name; none where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse() {
            return Some(Self::Ip(ip));
        }
        if let Some((ip, zone)) = text.split_once('%') {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let is_zone = (1..=15).contains(&zone.len()) && zone.bytes().all(allowed);
            let ip = ip.parse().ok().filter(|_| is_zone)?;
            return Some(Self::Scoped { ip, zone: zone.into() });
        }
        is_host_name(text).then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

/// RFC 1123, and `_`, which many networks have. Not what looks like an IPv4 address and is none: 10.0.0.256, 10.1.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let bare = text.strip_suffix('.').unwrap_or(text);
    let numeric = bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    bare.len() <= 253 && !numeric && bare.split('.').all(label)
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(formatter),
            Self::Name(name) => formatter.write_str(name),
            Self::Scoped { ip, zone } => write!(formatter, "{ip}%{zone}"),
        }
    }
}

/// As [`Address::parse`] reads it.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host {
            _ if *port == DEFAULT_PORT => host.fmt(formatter),
            Host::Ip(IpAddr::V6(_)) | Host::Scoped { .. } => write!(formatter, "[{host}]:{port}"),
            _ => write!(formatter, "{host}:{port}"),
        }
    }
}

/// `{"address": "192.0.2.7", "port": 22}`.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Address", 2)?;
        fields.serialize_field("address", &self.host.to_string())?;
        fields.serialize_field("port", &self.port)?;
        fields.end()
    }
}
