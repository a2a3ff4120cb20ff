//! Telling cheaply whether a file changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What tells, without reading it, that a file is still the one seen before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    pub(crate) path: PathBuf,
    size_bytes: u64,
    inode: u64,
    modified_ns: i64,
    /// Time of the last change of contents or attributes, which programs cannot set.
    changed_ns: i64,
}

impl Fingerprint {
    /// Looks at the file `path` in `dir`; an absolute `path` stands for itself.
    pub(crate) fn of(dir: &Path, path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(dir.join(path))?;
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Ok(Self {
            path: path.to_owned(),
            size_bytes: metadata.size(),
            inode: metadata.ino(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether the file in `dir` still looks the same.
    pub(crate) fn holds(&self, dir: &Path) -> bool {
        Self::of(dir, &self.path).is_ok_and(|now| now == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaced_by_one_of_the_same_size_and_time_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, b"one").unwrap();
        let before = Fingerprint::of(dir.path(), Path::new("f")).unwrap();
        assert!(before.holds(dir.path()));
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let other = dir.path().join("g");
        fs::write(&other, b"two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!before.holds(dir.path()));
    }
}
