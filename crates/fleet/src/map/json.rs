//! The JSON forms.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Address, Found, Host, Machine, Place, Wrong, check_names};
use crate::transport::plain;

pub(super) fn read(text: &str) -> Result<Vec<Found>, Wrong> {
    let wrong = |error: serde_json::Error| {
        let full = error.to_string();
        let short = full.split(" at line ").next().unwrap_or(&full);
        // The name of a field is whatever the file has, line ends too.
        let problem = format!("this is no map of machines: {}", plain(short));
        Wrong { place: Place::Line(error.line().max(1)), problem }
    };
    let listed: Listed = serde_json::from_str(text).map_err(wrong)?;
    let machine = |(at, entry): (usize, Entry)| {
        let place = Place::Machine(at + 1);
        match entry.machine() {
            Ok(machine) => Ok(Found { machine, place }),
            Err(problem) => Err(Wrong { place, problem }),
        }
    };
    listed.0.into_iter().enumerate().map(machine).collect()
}

/// One machine as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    address: String,
    port: Option<u16>,
    #[serde(default)]
    aliases: Vec<String>,
}

/// The same, where the name is the key.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an address, or an object with `address` and, if need be, `port` and `aliases`"
)]
enum Named {
    Address(String),
    Object(Object),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    address: String,
    port: Option<u16>,
    #[serde(default)]
    aliases: Vec<String>,
}

impl Entry {
    fn new(name: String, named: Named) -> Self {
        match named {
            Named::Address(address) => Self { name, address, port: None, aliases: Vec::new() },
            Named::Object(Object { address, port, aliases }) => Self { name, address, port, aliases },
        }
    }

    fn machine(self) -> Result<Machine, String> {
        let Self { name, address, port, aliases } = self;
        check_names(&name, &aliases)?;
        let address = match port {
            None => Address::parse(&address)?,
            Some(0) => return Err(format!("{name}: 0 is no port; give one from 1 to 65535")),
            Some(port) => {
                let host = Host::parse(&address).ok_or_else(|| {
                    format!("{name}: {address:?} is no address; write an IP address or a host name, the port apart")
                })?;
                Address { host, port }
            }
        };
        Ok(Machine { name, address, aliases })
    }
}

/// All entries in order, those with the same name included: a map type would keep the last one in silence.
struct Listed(Vec<Entry>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Listed;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .write_str("an object of names and addresses, or an array of objects with `name` and `address`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
        let mut entries = Vec::new();
        while let Some((name, named)) = map.next_entry::<String, Named>()? {
            entries.push(Entry::new(name, named));
        }
        Ok(Listed(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Listed, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = sequence.next_element()? {
            entries.push(entry);
        }
        Ok(Listed(entries))
    }
}
