//! Where the archive is when nobody says otherwise.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Archive, Error, Result};

impl Archive {
    /// The file used unless one is named: `$VIRTMARK_ARCHIVE`, else `$XDG_DATA_HOME/virtmark/archive.sqlite`, else
    /// `~/.local/share/virtmark/archive.sqlite`. As the XDG base directory specification wants it, a relative
    /// `XDG_DATA_HOME` counts as unset; so does an empty `VIRTMARK_ARCHIVE`.
    ///
    /// # Errors
    ///
    /// [`Error::NoDataDirectory`] when none of the variables leads anywhere.
    pub fn default_path() -> Result<PathBuf> {
        path_from(|name| env::var_os(name))
    }
}

fn path_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    if let Some(path) = variable("VIRTMARK_ARCHIVE").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    Ok(data.ok_or(Error::NoDataDirectory)?.join(Path::new("virtmark/archive.sqlite")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(variables: &[(&str, &str)]) -> Option<String> {
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        path_from(lookup).ok().map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_nearest_variable_that_leads_somewhere_wins() {
        let home = ("HOME", "/home/ann");
        assert_eq!(path(&[home]).unwrap(), "/home/ann/.local/share/virtmark/archive.sqlite");
        assert_eq!(path(&[home, ("XDG_DATA_HOME", "/d")]).unwrap(), "/d/virtmark/archive.sqlite");
        assert_eq!(path(&[home, ("XDG_DATA_HOME", "d"), ("VIRTMARK_ARCHIVE", "")]), path(&[home]));
        assert_eq!(path(&[home, ("XDG_DATA_HOME", "/d"), ("VIRTMARK_ARCHIVE", "a.db")]).unwrap(), "a.db");
        assert_eq!(path(&[("HOME", "")]), None);
    }
}
