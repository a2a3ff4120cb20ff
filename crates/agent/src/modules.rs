//! Kernel modules.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::vec;

use rustix::io::Errno;
use rustix::system::finit_module;

/// One module file a line, in the order in which they must be loaded.
const LIST: &str = "/etc/virtmark/modules";

/// Every module of the image, one a line: `name: path need need…`, needs in the order in which they must be loaded.
const AVAILABLE: &str = "/etc/virtmark/modules.available";

/// Modules that the kernel has built in, one name a line.
const BUILTIN: &str = "/etc/virtmark/modules.builtin";

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

/// Loads modules by name, separated by commas, each after what it needs. What cannot be loaded is reported and left out.
pub(crate) fn load_named(names: &str) {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let (available, builtin) = (text(AVAILABLE), text(BUILTIN));
    let (paths, unknown) = paths_of(names, &available, &builtin);
    for name in unknown {
        eprintln!("virtmark-agent: the image has no kernel module {name}");
    }
    for path in paths {
        if is_loaded(Path::new(path)) {
            continue;
        }
        if let Err(error) = load(Path::new(path)) {
            eprintln!("virtmark-agent: cannot load the kernel module {path}: {error}");
        }
    }
}

/// The files of these modules and of what they need, each once and in load order; and the names that nothing is known of.
fn paths_of<'a>(names: &'a str, available: &'a str, builtin: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    let modules: HashMap<&str, (&str, Vec<&str>)> = available
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(": ")?;
            let mut words = rest.split_ascii_whitespace();
            Some((name, (words.next()?, words.collect())))
        })
        .collect();
    let (mut paths, mut unknown) = (Vec::new(), Vec::new());
    for name in names.split(',').filter(|name| !name.is_empty()) {
        match modules.get(name) {
            Some((path, needs)) => {
                let needed = needs.iter().filter_map(|need| modules.get(need).map(|(path, _)| *path));
                for path in needed.chain([*path]) {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
            None if builtin.lines().any(|line| line == name) => {}
            None => unknown.push(name),
        }
    }
    (paths, unknown)
}

/// Cheaper to know than to hand the kernel a file that it does not need.
fn is_loaded(path: &Path) -> bool {
    path.file_stem().is_some_and(|name| Path::new("/sys/module").join(name).exists())
}

fn load(path: &Path) -> std::io::Result<()> {
    match finit_module(File::open(path)?, c"", 0) {
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need_and_once() {
        let available = "virtio: /m/virtio.ko\nnet_core: /m/net_core.ko virtio\n\
                         virtio_blk: /m/virtio_blk.ko virtio\nvirtio_net: /m/virtio_net.ko virtio net_core\nbad\n";
        let (paths, unknown) = paths_of("virtio_net,virtio_blk,,ext4,nosuch", available, "ext4\n");
        assert_eq!(paths, ["/m/virtio.ko", "/m/net_core.ko", "/m/virtio_net.ko", "/m/virtio_blk.ko"]);
        assert_eq!(unknown, ["nosuch"]);
        assert_eq!(paths_of("", available, ""), (vec![], vec![]));
    }
}
