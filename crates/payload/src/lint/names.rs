//! Paths of entries: where they lead, and what gets into each other's way.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::finding::{Code, Finding};
use crate::tarball::{Entry, Kind};

/// Linux: `NAME_MAX`.
const PART_LIMIT_BYTES: usize = 255;
/// Linux: `PATH_MAX` less the zero at its end, and room for the root.
const PATH_LIMIT_BYTES: usize = 3840;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// From the root of the file system, not from that of the payload.
    pub(crate) absolute: bool,
    /// Its names, without those that mean nothing (`.` and empty ones).
    pub(crate) parts: Vec<&'a [u8]>,
    /// Whether a `..` was among them.
    pub(crate) has_parent: bool,
}

impl Place<'_> {
    /// Whether it is this file at the root of the payload.
    pub(crate) fn is(&self, name: &str) -> bool {
        !self.absolute && self.parts == [name.as_bytes()]
    }

    /// Whether it has this name, in a directory of the payload.
    pub(crate) fn is_below_root(&self, name: &str) -> bool {
        !self.absolute && self.parts.len() > 1 && self.parts.last() == Some(&name.as_bytes())
    }
}

/// Takes a path apart.
pub(crate) fn place(path: &[u8]) -> Place<'_> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']));
    let parts: Vec<&[u8]> = parts.collect();
    Place { absolute: path.starts_with(b"/"), has_parent: parts.contains(&&b".."[..]), parts }
}

/// A path by its hash: 200 000 long names would be a gigabyte.
type Key = [u8; 16];

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Directory,
    File,
    /// Something lies below it, and it has had no entry of its own so far.
    ImpliedDirectory,
    Symlink,
    Other,
}

/// All paths so far.
#[derive(Debug)]
pub(super) struct Names {
    taken: HashMap<Key, Taken>,
    limit: u64,
    full: bool,
    entries: u64,
}

impl Names {
    pub(super) fn new(limit: u64) -> Self {
        Self { taken: HashMap::new(), limit, full: false, entries: 0 }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether there were more entries than are allowed.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// What is wrong with the path of an entry and, for a link, with where it leads.
    pub(super) fn check(&mut self, entry: &Entry, place: &Place<'_>) -> Vec<Finding> {
        let mut findings = spelling(entry, place);
        if place.has_parent {
            let message = "has `..` in its path; some unpackers refuse that, others leave it out";
            let remedy = "write the path without it, or an absolute one if it must lie outside of the root";
            findings.push(Finding::new(Code::ParentPath, message, remedy).on(&entry.path));
            return findings;
        }
        if place.absolute {
            let message = "lies outside of the root; it is overwritten there and never removed";
            let remedy = "the specification allows that and discourages it strongly: keep to the root";
            findings.push(Finding::new(Code::OutsideRoot, message, remedy).on(&entry.path));
        }
        findings.extend(self.take(entry, place));
        match entry.kind {
            Kind::HardLink => findings.extend(self.hard_link(entry)),
            Kind::Symlink => findings.extend(symlink(entry, place)),
            _ => {}
        }
        findings
    }

    fn take(&mut self, entry: &Entry, place: &Place<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut walk = Walk::new(place.absolute);
        for part in place.parts.iter().take(place.parts.len().saturating_sub(1)) {
            let above = *self.taken.entry(walk.down(part)).or_insert(Taken::ImpliedDirectory);
            let (code, message, remedy) = match above {
                Taken::Directory | Taken::ImpliedDirectory => continue,
                Taken::Symlink => (
                    Code::ThroughLink,
                    "lies below a symbolic link of the same archive, wherever that leads",
                    "pack it where it is to be",
                ),
                Taken::File | Taken::Other => (
                    Code::PathConflict,
                    "lies below an entry that is no directory",
                    "give one of the two another name",
                ),
            };
            findings.push(Finding::new(code, message, remedy).on(&entry.path));
            break;
        }
        let new = match entry.kind {
            Kind::Directory => Taken::Directory,
            Kind::File | Kind::HardLink => Taken::File,
            Kind::Symlink => Taken::Symlink,
            _ => Taken::Other,
        };
        // The root itself is a directory that is there anyway.
        let key = place.parts.last().map(|part| walk.down(part)).unwrap_or_else(|| walk.key());
        let old = self.taken.insert(key, new);
        match (old, new) {
            (None, _) if place.parts.is_empty() && new != Taken::Directory => {
                findings.push(conflict(entry, "is the root itself, and no directory"));
            }
            (None | Some(Taken::ImpliedDirectory | Taken::Directory), Taken::Directory) | (None, _) => {}
            (Some(Taken::ImpliedDirectory), _) => {
                findings.push(conflict(entry, "is no directory, and entries before it lie below it"));
            }
            (Some(_), _) => {
                let message = "is there twice; the second one takes the place of the first";
                findings.push(Finding::new(Code::Duplicate, message, "keep one of them").on(&entry.path));
            }
        }
        self.entries += 1;
        self.full |= self.entries > self.limit || self.taken.len() as u64 > self.limit;
        findings
    }

    fn hard_link(&self, entry: &Entry) -> Option<Finding> {
        let target = place(&entry.target);
        let mut walk = Walk::new(target.absolute);
        target.parts.iter().for_each(|part| {
            walk.down(part);
        });
        let known = !target.has_parent && self.taken.get(&walk.key()) == Some(&Taken::File);
        let own = place(&entry.path) == target;
        let why = match (target.absolute, known && !own) {
            (true, _) => "out of the root",
            (false, false) => "to no file that comes before it",
            (false, true) => return None,
        };
        let shown = String::from_utf8_lossy(&entry.target).into_owned();
        let message = format!("is a hard link {why}: {shown:?}");
        Some(Finding::new(Code::HardLink, message, "pack the file itself").on(&entry.path))
    }
}

fn conflict(entry: &Entry, message: &str) -> Finding {
    Finding::new(Code::PathConflict, message, "give one of the two another name").on(&entry.path)
}

fn symlink(entry: &Entry, from: &Place<'_>) -> Option<Finding> {
    // A link that is outside of the root has been told of.
    if from.absolute || !leaves(from.parts.len().saturating_sub(1), &entry.target) {
        return None;
    }
    let shown = String::from_utf8_lossy(&entry.target).into_owned();
    let message = format!("is a symbolic link out of the root: {shown:?}");
    let remedy = "what it leads to may differ on each machine; make it in payload.sh if it is needed";
    Some(Finding::new(Code::LinkOutsideRoot, message, remedy).on(&entry.path))
}

/// Whether a target leads above the root, from so many directories below it.
fn leaves(mut depth: usize, target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    for part in place(target).parts {
        match (part, depth.checked_sub(1)) {
            (b"..", None) => return true,
            (b"..", Some(above)) => depth = above,
            _ => depth += 1,
        }
    }
    false
}

fn spelling(entry: &Entry, place: &Place<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let long = place.parts.iter().any(|part| part.len() > PART_LIMIT_BYTES);
    if long || entry.path.len() > PATH_LIMIT_BYTES || entry.target.len() > PATH_LIMIT_BYTES {
        let message = format!(
            "has a name that is too long (at most {PART_LIMIT_BYTES} bytes a part, {PATH_LIMIT_BYTES} together)"
        );
        findings.push(Finding::new(Code::NameTooLong, message, "give it a shorter name").on(&entry.path));
    }
    let problem = match std::str::from_utf8(&entry.path) {
        Err(_) => "has a name that is not UTF-8",
        Ok(path) if path.chars().any(char::is_control) => "has a control character in its name",
        Ok(_) => return findings,
    };
    let remedy = "rename it; such names are shown and typed differently everywhere";
    findings.push(Finding::new(Code::OddName, problem, remedy).on(&entry.path));
    findings
}

/// Keys of a path and of all directories above it, in one pass.
struct Walk {
    hash: Sha256,
}

impl Walk {
    fn new(absolute: bool) -> Self {
        let mut hash = Sha256::new();
        hash.update([u8::from(absolute)]);
        Self { hash }
    }

    /// The key of what has this name in the directory at hand, which it then is.
    fn down(&mut self, part: &[u8]) -> Key {
        self.hash.update(part);
        self.hash.update(b"/");
        self.key()
    }

    fn key(&self) -> Key {
        let digest = self.hash.clone().finalize();
        let mut key = Key::default();
        key.copy_from_slice(&digest[..16]);
        key
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_are_followed_by_their_spelling() {
        for (depth, target, expected) in [
            (0, "a", false),
            (0, "..", true),
            (1, "..", false),
            (1, "../..", true),
            (0, "a/../..", true),
            (0, "a/../b", false),
            (2, "../../c", false),
            (9, "/etc", true),
            (0, "./././/x", false),
        ] {
            assert_eq!(leaves(depth, target.as_bytes()), expected, "{depth} {target}");
        }
    }

    proptest! {
        #[test]
        fn a_place_is_what_the_standard_library_makes_of_the_path(path in "[a./]{0,12}") {
            let place = place(path.as_bytes());
            let expected: Vec<&[u8]> = Path::new(&path).components().filter_map(|component| match component {
                Component::Normal(name) => Some(name.as_encoded_bytes()),
                Component::ParentDir => Some(b"..".as_slice()),
                _ => None,
            }).collect();
            prop_assert_eq!(&place.parts, &expected);
            prop_assert_eq!(place.absolute, Path::new(&path).is_absolute());
            prop_assert_eq!(place.has_parent, expected.contains(&b"..".as_slice()));
        }
    }
}
