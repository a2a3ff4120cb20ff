//! The tiny guest's root file system: the agent, a shell, and the modules that the agent may load.
//!
//! ```text
//! /init                             the agent
//! /bin/busybox                      shell and tools, with links for the most used names
//! /sbin /usr/bin /usr/sbin          links to /bin
//! /etc/virtmark/applets             paths that may become links to busybox, one a line
//! /etc/virtmark/image.json          what the image was made of
//! /etc/virtmark/modules             modules the agent loads before it can speak: paths, in load order
//! /etc/virtmark/modules.available   every module: `name: path need need…`, needs in load order
//! /etc/virtmark/modules.builtin     wanted modules that the kernel has built in, one name a line
//! /lib/modules/virtmark/NAME.ko     the modules
//! ```
//!
//! It is not compressed: unpacking costs the guest more than a larger read costs the host.

mod busybox;
mod cpio;

use crate::ImageError;
use crate::modules::Selection;
use crate::recipe::ExtraFile;
pub(crate) use busybox::Busybox;
use cpio::{Node, Tree};

const MODULES_DIR: &str = "lib/modules/virtmark";

/// What goes into an initramfs.
pub(crate) struct Contents<'a> {
    pub(crate) agent: &'a [u8],
    pub(crate) busybox: &'a Busybox,
    pub(crate) modules: &'a Selection,
    pub(crate) extra_files: &'a [ExtraFile],
    /// Written to `/etc/virtmark/image.json`.
    pub(crate) summary: String,
}

impl Contents<'_> {
    /// The archive; the same contents always give the same bytes.
    pub(crate) fn archive(&self) -> Result<Vec<u8>, ImageError> {
        let mut tree = Tree::default();
        let mut failure = None;
        let mut put = |path: &str, node: Node| {
            if let Err(reason) = tree.insert(path, node) {
                let path = path.to_owned();
                failure.get_or_insert(ImageError::ExtraFile { path, reason });
            }
        };
        self.skeleton(&mut put);
        self.programs(&mut put);
        self.module_files(&mut put);
        for extra in self.extra_files {
            let contents = extra.contents.clone();
            let mode = extra.mode & 0o7777;
            put(extra.path.trim_start_matches('/'), Node::File { mode, contents });
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(tree.archive()),
        }
    }

    fn skeleton(&self, put: &mut impl FnMut(&str, Node)) {
        for (path, mode) in [
            ("bin", 0o755),
            ("dev", 0o755),
            ("etc", 0o755),
            ("proc", 0o555),
            ("root", 0o700),
            ("run", 0o755),
            ("sys", 0o555),
            ("tmp", 0o1777),
        ] {
            put(path, Node::Directory { mode });
        }
        for (path, target) in [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")] {
            put(path, link(target));
        }
        // Linux opens the console before anything has mounted /dev.
        for (path, mode, major, minor) in [("dev/console", 0o600, 5, 1), ("dev/null", 0o666, 1, 3)] {
            put(path, Node::Device { mode, major, minor });
        }
        put("etc/passwd", text("root:x:0:0:root:/root:/bin/sh\n"));
        put("etc/group", text("root:x:0:\n"));
        put("etc/hostname", text("virtmark\n"));
        put("etc/hosts", text("127.0.0.1 localhost virtmark\n"));
        put("etc/virtmark/image.json", text(&self.summary));
    }

    fn programs(&self, put: &mut impl FnMut(&str, Node)) {
        put("init", program(self.agent));
        put("bin/busybox", program(&self.busybox.bytes));
        for name in &self.busybox.linked {
            put(&format!("bin/{name}"), link("busybox"));
        }
        let unlinked = lines(self.busybox.unlinked.iter().map(|name| format!("/bin/{name}")));
        put("etc/virtmark/applets", text(&unlinked));
    }

    fn module_files(&self, put: &mut impl FnMut(&str, Node)) {
        let path = |name: &String| format!("/{MODULES_DIR}/{name}.ko");
        put(MODULES_DIR, Node::Directory { mode: 0o755 });
        for module in &self.modules.modules {
            let contents = module.bytes.clone();
            put(path(&module.name).trim_start_matches('/'), Node::File { mode: 0o644, contents });
        }
        let available = self.modules.modules.iter().map(|module| {
            let line = format!("{}: {} {}", module.name, path(&module.name), module.needs.join(" "));
            line.trim_end().to_owned()
        });
        put("etc/virtmark/modules", text(&lines(self.modules.early.iter().map(path))));
        put("etc/virtmark/modules.available", text(&lines(available)));
        put("etc/virtmark/modules.builtin", text(&lines(self.modules.builtin.iter().cloned())));
    }
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.map(|item| item + "\n").collect()
}

fn link(target: &str) -> Node {
    Node::Link { target: target.to_owned() }
}

fn program(bytes: &[u8]) -> Node {
    Node::File { mode: 0o755, contents: bytes.to_vec() }
}

fn text(contents: &str) -> Node {
    Node::File { mode: 0o644, contents: contents.as_bytes().to_vec() }
}
