//! The form of hosts(5).

use super::{Address, Found, Machine, Place, Wrong, check_names};

pub(super) fn read(text: &str) -> Result<Vec<Found>, Wrong> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let place = Place::Line(at + 1);
        let wrong = |problem| Wrong { place, problem };
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next() else { continue };
        let address = Address::parse(address).map_err(wrong)?;
        let mut names = words.map(str::to_owned);
        let Some(name) = names.next() else {
            return Err(wrong(format!("{address} has no name; write `{address} NAME`")));
        };
        let aliases: Vec<String> = names.collect();
        check_names(&name, &aliases).map_err(wrong)?;
        found.push(Found { machine: Machine { name, address, aliases }, place });
    }
    Ok(found)
}
