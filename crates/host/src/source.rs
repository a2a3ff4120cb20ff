//! The files that the kernel describes the host in, under a root that tests can replace.

use std::fs;
use std::path::{Path, PathBuf};

/// A root directory with `proc`, `sys`, `dev` and `etc` in it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    root: PathBuf,
}

impl Source {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether this is the host that the program runs on, which can be asked in other ways too.
    pub(crate) fn is_this_host(&self) -> bool {
        self.root == Path::new("/")
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text without the white space around it; `None` when it cannot be read or is empty.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read_to_string(self.path(path)).ok()?;
        let text = text.trim();
        if text.is_empty() { None } else { Some(text.to_owned()) }
    }

    /// A file that holds one number.
    pub(crate) fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.text(path)?.parse().ok()
    }
}
