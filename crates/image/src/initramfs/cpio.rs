//! Archives in the `newc` form of cpio, the only one that Linux unpacks at boot
//! (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! The same tree always gives the same bytes: entries are sorted, owned by root, without times, and numbered in order.

use std::collections::BTreeMap;

/// A tree of files, by path without leading slash.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// One entry; modes are permission bits only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Device { mode: u32, major: u32, minor: u32 },
    Directory { mode: u32 },
    File { mode: u32, contents: Vec<u8> },
    Link { target: String },
}

impl Tree {
    /// Puts an entry at `path`, and directories above it where there are none.
    ///
    /// The error says why the path cannot be taken.
    pub(crate) fn insert(&mut self, path: &str, node: Node) -> Result<(), &'static str> {
        let odd = |part: &str| matches!(part, "" | "." | "..");
        if path.split('/').any(odd) || path.contains('\0') || path == TRAILER {
            return Err("it is not a plain path");
        }
        if path.len() >= PATH_LIMIT_BYTES {
            return Err("it is longer than Linux allows");
        }
        for (at, _) in path.match_indices('/') {
            match self.nodes.get(&path[..at]) {
                Some(Node::Directory { .. }) => {}
                Some(_) => return Err("something above it is a link or a file"),
                None => {
                    let directory = Node::Directory { mode: 0o755 };
                    self.nodes.insert(path[..at].to_owned(), directory);
                }
            }
        }
        if let Node::File { contents, .. } = &node
            && u32::try_from(contents.len()).is_err()
        {
            return Err("it is larger than 4 GiB");
        }
        if self.nodes.contains_key(path) {
            return Err("something is there already");
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// The archive, with its end mark.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let mut output = Vec::new();
        for (number, (path, node)) in (1..).zip(&self.nodes) {
            node.append(&mut output, path, number);
        }
        append(&mut output, TRAILER, Header { links: 1, ..Header::default() }, &[]);
        output
    }
}

const TRAILER: &str = "TRAILER!!!";
/// Linux skips names that are not shorter than `PATH_MAX`.
const PATH_LIMIT_BYTES: usize = 4095;

impl Node {
    fn append(&self, output: &mut Vec<u8>, path: &str, number: u32) {
        let mut header = Header { number, links: 1, ..Header::default() };
        let contents: &[u8] = match self {
            Self::Device { mode, major, minor } => {
                header.mode = 0o020_000 | mode;
                (header.major, header.minor) = (*major, *minor);
                &[]
            }
            Self::Directory { mode } => {
                header.mode = 0o040_000 | mode;
                header.links = 2;
                &[]
            }
            Self::File { mode, contents } => {
                header.mode = 0o100_000 | mode;
                contents
            }
            Self::Link { target } => {
                header.mode = 0o120_777;
                target.as_bytes()
            }
        };
        append(output, path, header, contents);
    }
}

#[derive(Default)]
struct Header {
    number: u32,
    mode: u32,
    links: u32,
    major: u32,
    minor: u32,
}

fn append(output: &mut Vec<u8>, path: &str, header: Header, contents: &[u8]) {
    let fields = [
        header.number,
        header.mode,
        0, // owner
        0, // group
        header.links,
        0, // time of change
        contents.len() as u32,
        0, // device that holds the file
        0,
        header.major,
        header.minor,
        path.len() as u32 + 1,
        0, // checksum, not used by this form
    ];
    output.extend_from_slice(b"070701");
    for field in fields {
        output.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    output.extend_from_slice(path.as_bytes());
    output.push(0);
    pad(output);
    output.extend_from_slice(contents);
    pad(output);
}

/// Names and contents end on a multiple of four bytes, counted from the start of the archive.
fn pad(output: &mut Vec<u8>) {
    output.resize(output.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut tree = Tree::default();
        let contents = b"hello".to_vec();
        tree.insert("d/f", Node::File { mode: 0o644, contents }).unwrap();
        tree.insert("d/c", Node::Device { mode: 0o600, major: 5, minor: 1 }).unwrap();
        tree.insert("l", Node::Link { target: "d/f".to_owned() }).unwrap();
        let expected = concat!(
            "070701",
            "00000001",
            "000041ED",
            "00000000",
            "00000000",
            "00000002",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000002",
            "00000000",
            "d\0",
            "070701",
            "00000002",
            "00002180",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000005",
            "00000001",
            "00000004",
            "00000000",
            "d/c\0\0\0",
            "070701",
            "00000003",
            "000081A4",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000004",
            "00000000",
            "d/f\0\0\0",
            "hello\0\0\0",
            "070701",
            "00000004",
            "0000A1FF",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000003",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000002",
            "00000000",
            "l\0",
            "d/f\0",
            "070701",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "0000000B",
            "00000000",
            "TRAILER!!!\0\0\0\0",
        );
        assert_eq!(String::from_utf8(tree.archive()).unwrap(), expected);
    }

    #[test]
    fn paths_that_cannot_be_are_refused() {
        let mut tree = Tree::default();
        let file = || Node::File { mode: 0o644, contents: Vec::new() };
        tree.insert("f", file()).unwrap();
        tree.insert("l", Node::Link { target: "d".to_owned() }).unwrap();
        let long = "x".repeat(4095);
        for path in ["", "/f", "a//b", "a/", "../x", "a/./b", "a\0b", "TRAILER!!!", "f", "f/x", "l/x", &long]
        {
            assert!(tree.insert(path, file()).is_err(), "{path}");
        }
    }

    /// Reads an archive field by field, without knowing how it was written.
    fn parse(archive: &[u8]) -> Vec<(String, u32, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(at % 4, 0);
            assert_eq!(&archive[at..at + 6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&archive[at + 6 + n * 8..at + 14 + n * 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&archive[at + 110..at + 109 + name_size]).unwrap();
            assert_eq!(archive[at + 109 + name_size], 0);
            let data_at = (at + 110 + name_size).div_ceil(4) * 4;
            if name == "TRAILER!!!" {
                assert_eq!(data_at, archive.len());
                return entries;
            }
            let data = archive[data_at..data_at + size].to_vec();
            entries.push((name.to_owned(), mode, field(0), data));
            at = (data_at + size).div_ceil(4) * 4;
        }
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let contents = proptest::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            (0u32..0o1000, contents).prop_map(|(mode, contents)| Node::File { mode, contents }),
            "[a-z/]{1,9}".prop_map(|target| Node::Link { target }),
            (0u32..0o1000).prop_map(|mode| Node::Directory { mode }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_went_in_comes_out_parents_first(
            wanted in proptest::collection::vec(("[a-c]{1,2}(/[a-c.-]{1,3}){0,2}", nodes()), 0..12),
        ) {
            let mut tree = Tree::default();
            for (path, node) in wanted {
                let _ = tree.insert(&path, node);
            }
            let archive = tree.archive();
            let entries = parse(&archive);
            prop_assert_eq!(entries.len(), tree.nodes.len());
            for (index, (path, mode, number, data)) in entries.iter().enumerate() {
                prop_assert_eq!(*number as usize, index + 1);
                let (kind, permissions, contents) = match &tree.nodes[path] {
                    Node::File { mode, contents } => (0o10, *mode, contents.clone()),
                    Node::Link { target } => (0o12, 0o777, target.clone().into_bytes()),
                    Node::Directory { mode } => (0o4, *mode, Vec::new()),
                    Node::Device { mode, .. } => (0o2, *mode, Vec::new()),
                };
                prop_assert_eq!((mode >> 12, mode & 0o7777, data), (kind, permissions, &contents));
                if let Some((parent, _)) = path.rsplit_once('/') {
                    prop_assert!(entries[..index].iter().any(|(earlier, ..)| earlier == parent));
                }
            }
        }
    }

    #[test]
    fn busybox_lists_the_same_names() {
        if !Path::new("/bin/busybox").exists() {
            println!("skipped: there is no /bin/busybox here");
            return;
        }
        let mut tree = Tree::default();
        for (path, length) in [("bin/a", 1), ("bin/b", 2), ("bin-c", 3), ("z/y/x", 4)] {
            let contents = vec![b'.'; length];
            tree.insert(path, Node::File { mode: 0o755, contents }).unwrap();
        }
        let mut child = Command::new("/bin/busybox")
            .args(["cpio", "-t"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&tree.archive()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let listed = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = listed.lines().collect();
        assert_eq!(names, ["bin", "bin-c", "bin/a", "bin/b", "z", "z/y", "z/y/x"]);
    }
}
