//! The files that an `Include` of `~/.ssh/config` names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a word, sorted by name: `~` is the home directory, a relative path begins in `~/.ssh`, and `*` and `?` stand
/// for what they do in a shell. A pattern that fits nothing names no file, and so does a file that is not there.
pub(super) fn files(word: &str, home: &Path) -> io::Result<Vec<PathBuf>> {
    let path = match word.strip_prefix("~/") {
        Some(below) => home.join(below),
        None => home.join(".ssh").join(word),
    };
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut fitting = Vec::new();
        for directory in &found {
            fitting.extend(entries(directory, name.as_bytes())?);
        }
        found = fitting;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

/// What a directory has that fits a pattern; nothing where there is no such directory.
fn entries(directory: &Path, pattern: &[u8]) -> io::Result<Vec<PathBuf>> {
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut fitting = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        // As in a shell, what is hidden is named by a dot.
        let is_seen = name.first() != Some(&b'.') || pattern.first() == Some(&b'.');
        if is_seen && is_like(pattern, name) {
            fitting.push(entry.path());
        }
    }
    fitting.sort();
    Ok(fitting)
}

/// `*` stands for any bytes, `?` for one.
pub(super) fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => is_like(&pattern[1..], name) || (!name.is_empty() && is_like(pattern, &name[1..])),
        (Some(b'?'), Some(_)) => is_like(&pattern[1..], &name[1..]),
        (Some(wanted), Some(found)) if wanted == found => is_like(&pattern[1..], &name[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_what_is_there() {
        let home = tempfile::tempdir().unwrap();
        let conf = home.path().join(".ssh/conf.d");
        fs::create_dir_all(&conf).unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt", "d.conf.old"] {
            fs::write(conf.join(name), "").unwrap();
        }
        fs::create_dir(conf.join("e.conf")).unwrap();
        let named = |word: &str| files(word, home.path()).unwrap();
        assert_eq!(named("conf.d/*.conf"), [conf.join("a.conf"), conf.join("b.conf")]);
        assert_eq!(named("~/.ssh/*.d/?.txt"), [conf.join("c.txt")]);
        assert_eq!(named(conf.join(".*").to_str().unwrap()), [conf.join(".hidden.conf")]);
        assert_eq!(named("conf.d/c.txt"), [conf.join("c.txt")]);
        for nothing in ["absent", "absent/*", "conf.d/c.txt/*", "conf.d"] {
            assert_eq!(named(nothing), Vec::<PathBuf>::new(), "{nothing}");
        }
    }
}
