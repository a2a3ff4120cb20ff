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

/// `*` stands for any bytes, `?` for one. Takes no longer than the product of both lengths, whatever the pattern.
pub(super) fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Behind the last star in the pattern, and where in the name that begins to be looked for.
    let mut star = None;
    while let Some(found) = name.get(seen) {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, seen));
            }
            (Some(wanted), _) if *wanted == b'?' || wanted == found => {
                at += 1;
                seen += 1;
            }
            // The star stands for a byte more. Earlier stars need not: what they could take, this one can.
            (_, Some((behind, from))) => {
                (at, seen) = (behind, from + 1);
                star = Some((behind, seen));
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// The definition.
    fn is_like_by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|from| is_like_by_definition(rest, &name[from..])),
            ([wanted, rest @ ..], [found, behind @ ..]) => {
                (*wanted == b'?' || wanted == found) && is_like_by_definition(rest, behind)
            }
            _ => pattern.is_empty() && name.is_empty(),
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_what_the_definition_says(pattern in "[ab*?]{0,7}", name in "[ab]{0,9}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(is_like(pattern, name), is_like_by_definition(pattern, name));
        }
    }

    /// By the definition this takes longer than anybody waits.
    #[test]
    fn many_stars_do_not_take_forever() {
        let (pattern, name) = ("*a".repeat(40) + "b", "a".repeat(4000));
        assert!(!is_like(pattern.as_bytes(), name.as_bytes()));
        assert!(is_like(pattern.trim_end_matches('b').as_bytes(), name.as_bytes()));
    }
}
