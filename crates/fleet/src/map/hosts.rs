//! The form of hosts(5).

use super::{Address, Found, Machine, Place, Wrong, bad_name, is_machine_name};

pub(super) fn read(text: &str) -> Result<Vec<Found>, Wrong> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let place = Place::Line(at + 1);
        let wrong = |problem| Wrong { place, problem };
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next() else { continue };
        let address = Address::parse(address).map_err(wrong)?;
        let names: Vec<String> = words.map(str::to_owned).collect();
        if let Some(name) = names.iter().find(|name| !is_machine_name(name)) {
            return Err(wrong(bad_name(name)));
        }
        let mut names = names.into_iter();
        let Some(name) = names.next() else {
            return Err(wrong(format!("{address} has no name; write `{address} NAME`")));
        };
        found.push(Found { machine: Machine { name, address, aliases: names.collect() }, place });
    }
    Ok(found)
}
