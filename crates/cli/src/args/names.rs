//! Names of the program: as a link of the name of one of these commands, it is that command.

use std::ffi::OsString;
use std::path::Path;

/// Commands that have a link.
const LINKS: [&str; 3] = ["kvbench", "kvrun", "vmrun"];

/// The command line as the program's own name would have it: `vmrun -H map` becomes `virtmark vmrun -H map`.
pub(crate) fn command_line(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().and_then(|program| Path::new(program).file_name());
    let link = LINKS.iter().find(|link| name.is_some_and(|name| name == **link));
    if let Some(link) = link {
        arguments[0] = "virtmark".into();
        arguments.insert(1, (*link).into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_its_command() {
        let line = |text: &str| command_line(text.split(' ').map(OsString::from));
        assert_eq!(line("/usr/bin/vmrun -H map"), ["virtmark", "vmrun", "-H", "map"]);
        assert_eq!(line("./virtmark vmrun"), ["./virtmark", "vmrun"]);
        assert_eq!(command_line([]), Vec::<OsString>::new());
    }
}
