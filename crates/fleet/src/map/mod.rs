//! The map of machines and addresses.
//!
//! Two forms are read, told apart by how they begin. That of hosts(5), with a port where it is not 22:
//!
//! ```text
//! # ADDRESS[:PORT]   NAME   [ALIAS ...]
//! 192.0.2.7          vm-0
//! [2001:db8::7]:2222 vm-1   db   # the first name is the machine's, the others are aliases
//! ```
//!
//! And JSON: an object of names, or an array.
//!
//! ```text
//! {"vm-0": "192.0.2.7", "vm-1": {"address": "2001:db8::7", "port": 2222, "aliases": ["db"]}}
//! [{"name": "vm-0", "address": "192.0.2.7"}]
//! ```

mod address;
mod hosts;
mod json;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use address::{Address, Host};

/// A longer map is not read.
const MAP_LIMIT_BYTES: u64 = 16 << 20;
/// The port of machines that have none of their own.
pub const DEFAULT_PORT: u16 = 22;

/// Machines by name, in the order of the map; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMap {
    machines: Vec<Machine>,
}

/// A machine of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its name: letters, digits, `.`, `_` and `-`, a letter or digit first, at most 253. Fit for a file name.
    pub name: String,
    /// Where it is.
    #[serde(flatten)]
    pub address: Address,
    /// Other names that the map has for it. They are for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// A map that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It has no machine in it.
    #[error("{source_name} names no machine; write a line `ADDRESS NAME` for each")]
    Empty {
        /// The file, or what stands for it.
        source_name: String,
    },
    /// A part of it makes no sense.
    #[error("{source_name}: {place}: {problem}")]
    Part {
        /// The file, or what stands for it.
        source_name: String,
        /// Which part.
        place: Place,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// It cannot be read.
    #[error("cannot read the map of machines {}; check that it exists and is readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A part of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of text, from 1.
    Line(usize),
    /// A machine of a JSON map, from 1.
    Machine(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::Machine(machine) => write!(formatter, "machine {machine}"),
        }
    }
}

/// A machine with its place, before it is known whether the map makes sense as a whole.
struct Found {
    machine: Machine,
    place: Place,
}

/// What is wrong with a part.
struct Wrong {
    place: Place,
    problem: String,
}

impl HostMap {
    /// Reads a file; `-` is standard input.
    pub fn from_file(path: &Path) -> Result<Self, MapError> {
        let told = |source| MapError::Read { path: path.into(), source };
        if path == Path::new("-") {
            return Self::from_reader(io::stdin().lock(), "standard input");
        }
        let file = std::fs::File::open(path).map_err(told)?;
        Self::from_reader(file, &path.display().to_string())
    }

    /// Reads a map of at most 16 MiB; the name is for messages.
    pub fn from_reader(input: impl Read, source_name: &str) -> Result<Self, MapError> {
        let mut bytes = Vec::new();
        let read = input.take(MAP_LIMIT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|source| MapError::Read { path: source_name.into(), source })?;
        Self::from_bytes(&bytes, source_name)
    }

    /// Reads a map; the name is for messages.
    pub fn from_bytes(bytes: &[u8], source_name: &str) -> Result<Self, MapError> {
        let told =
            |Wrong { place, problem }| MapError::Part { source_name: source_name.into(), place, problem };
        if bytes.len() as u64 > MAP_LIMIT_BYTES {
            let problem = "the map has more than 16 MiB; it is not one".into();
            return Err(told(Wrong { place: Place::Line(1), problem }));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            told(Wrong {
                place: Place::Line(line),
                problem: "the line is not UTF-8; names and addresses are ASCII".into(),
            })
        })?;
        // An editor of Windows leaves it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let found = if is_json(text) { json::read(text) } else { hosts::read(text) };
        Self::of(found.map_err(told)?, source_name)
    }

    /// A map of these machines; the name of where they come from is for messages.
    pub fn new(machines: Vec<Machine>, source_name: &str) -> Result<Self, MapError> {
        let place = |(at, machine)| Found { machine, place: Place::Machine(at + 1) };
        Self::of(machines.into_iter().enumerate().map(place).collect(), source_name)
    }

    fn of(found: Vec<Found>, source_name: &str) -> Result<Self, MapError> {
        check(&found).map_err(|Wrong { place, problem }| MapError::Part {
            source_name: source_name.into(),
            place,
            problem,
        })?;
        if found.is_empty() {
            return Err(MapError::Empty { source_name: source_name.into() });
        }
        Ok(Self { machines: found.into_iter().map(|found| found.machine).collect() })
    }

    /// The machines, in the order of the map.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }
}

/// The form of hosts(5), with a comment around it as the first tool of this kind wrote it.
impl fmt::Display for HostMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.machines.len();
        writeln!(formatter, "# BEGIN {count} machines")?;
        for Machine { name, address, aliases } in &self.machines {
            write!(formatter, "{address}\t{name}")?;
            aliases.iter().try_for_each(|alias| write!(formatter, "\t{alias}"))?;
            writeln!(formatter)?;
        }
        writeln!(formatter, "# END {count} machines")
    }
}

/// An array of objects.
impl Serialize for HostMap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.machines.serialize(serializer)
    }
}

/// `[` also begins an IPv6 address with a port, but not one that looks like the start of an object.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let after = text.strip_prefix('[').map(str::trim_start);
    text.starts_with('{') || after.is_some_and(|after| after.starts_with(['{', ']', '"']) || after.is_empty())
}

/// Refuses names that no machine can have, and names and addresses that are there twice: one result would take the place
/// of the other, or a payload would run beside itself.
fn check(found: &[Found]) -> Result<(), Wrong> {
    let mut names: HashMap<&str, Place> = HashMap::new();
    let mut addresses: HashMap<&Address, (Place, &str)> = HashMap::new();
    for Found { machine, place } in found {
        let place = *place;
        check_names(&machine.name, &machine.aliases).map_err(|problem| Wrong { place, problem })?;
        for name in std::iter::once(&machine.name).chain(&machine.aliases) {
            if let Some(first) = names.insert(name, place) {
                let problem =
                    format!("{name} is the name of a machine already ({first}); each needs one of its own");
                return Err(Wrong { place, problem });
            }
        }
        if let Some((first, name)) = addresses.insert(&machine.address, (place, &machine.name)) {
            let (address, other) = (&machine.address, &machine.name);
            let problem = format!(
                "{address} is the address of {name} already ({first}); make {other} an alias of it, or take one out"
            );
            return Err(Wrong { place, problem });
        }
    }
    Ok(())
}

/// Whether all of these can be names of a machine, and so of files. Readers ask before they use one in a message.
fn check_names<'a>(first: &'a String, others: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let is_one = |name: &str| {
        (1..=253).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match std::iter::once(first).chain(others).find(|name| !is_one(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "{name:?} is no name of a machine; use letters, digits, `.`, `_` and `-`, a letter or digit first, at most \
             253"
        )),
    }
}

#[cfg(test)]
mod tests;
