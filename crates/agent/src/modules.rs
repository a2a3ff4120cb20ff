//! Kernel modules.

use std::fs::{self, File};
use std::path::Path;
use std::vec;

use rustix::io::Errno;
use rustix::system::finit_module;

/// One module file a line, in the order in which they must be loaded.
const LIST: &str = "/etc/virtmark/modules";

/// The modules that are still to be loaded.
pub(crate) struct Modules {
    remaining: vec::IntoIter<String>,
}

impl Modules {
    /// Reads the list. Without one there are none.
    pub(crate) fn listed() -> Self {
        let list = fs::read_to_string(LIST).unwrap_or_default();
        let paths: Vec<String> =
            list.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into).collect();
        Self { remaining: paths.into_iter() }
    }

    /// Loads the next one; `false` when none is left. One that cannot be loaded is reported and left out.
    pub(crate) fn load_next(&mut self) -> bool {
        let Some(path) = self.remaining.next() else { return false };
        if let Err(error) = load(Path::new(&path)) {
            eprintln!("virtmark-agent: cannot load the kernel module {path}: {error}");
        }
        true
    }
}

fn load(path: &Path) -> std::io::Result<()> {
    match finit_module(File::open(path)?, c"", 0) {
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}
