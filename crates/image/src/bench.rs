//! The image `bench`: a Debian with measuring tools and an SSH server as the root of what is otherwise the image `tiny`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::digest::sha256;
use crate::error::IoContext;
use crate::ext4::{Fixed, Kind};
use crate::{ImageError, TinyRecipe, debian};

/// Changes when the same recipe gives another file system.
const FORMAT: u32 = 1;

/// The time of every file that is younger: 2025-01-01 00:00 UTC. The same packages give the same bytes on any day.
const EPOCH: u32 = 1_735_689_600;

/// Room for payloads, and for what they measure with.
const SPARE_BYTES: u64 = 1 << 30;

/// Debian's names of what the suites and payloads use.
const PACKAGES: [&str; 7] =
    ["fio", "iperf3", "iputils-ping", "openssh-server", "openssl", "stress-ng", "sysbench"];

/// Files that the tree gets beside its packages': path, mode, content.
const FILES: [(&str, u32, &str); 5] = [
    ("etc/hostname", 0o644, "bench\n"),
    ("etc/hosts", 0o644, "127.0.0.1 localhost bench\n"),
    // The name server of QEMU's user-mode networks; others are the machine's own affair.
    ("etc/resolv.conf", 0o644, "nameserver 10.0.2.3\n"),
    ("etc/ssh/sshd_config.d/virtmark.conf", 0o644, include_str!("../../../guest/bench/sshd.conf")),
    ("etc/virtmark/start", 0o755, include_str!("../../../guest/bench/start.sh")),
];

/// What packages leave behind that is another each time, or that every machine must have of its own. `*` ends a name of
/// which only the start is given.
const UNWANTED: [&str; 10] = [
    "etc/ssh/ssh_host_*",
    "etc/machine-id",
    "var/cache/apt/*",
    "var/cache/debconf/*",
    "var/cache/ldconfig/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/*",
    "var/log/*",
    "var/tmp/*",
];

/// What the image `bench` is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchRecipe {
    /// Its kernel and initramfs, in which the agent is.
    pub tiny: TinyRecipe,
    /// Debian's suite.
    pub suite: String,
    /// Packages besides those that a minimal Debian has.
    pub packages: Vec<String>,
}

impl BenchRecipe {
    /// The usual recipe over the kernel and initramfs of `tiny`: Debian 12 with sysbench, fio, iperf3, stress-ng, ping,
    /// openssl and an SSH server.
    pub fn new(tiny: TinyRecipe) -> Self {
        Self { tiny, suite: "bookworm".into(), packages: PACKAGES.map(Into::into).into() }
    }

    /// Stands for the root file system: SHA-256 of all that decides it but the versions of the packages.
    pub(crate) fn root_key(&self) -> String {
        let mut text = format!("bench {FORMAT}\nmmdebstrap {}\n", self.arguments().join(" "));
        for (path, mode, content) in FILES {
            text.push_str(&format!("{path} {mode:o} {}\n", sha256(content.as_bytes())));
        }
        sha256(text.as_bytes())
    }

    fn arguments(&self) -> Vec<String> {
        debian::arguments(&self.suite, &self.packages)
    }

    /// Makes the tree of its files in `work`.
    pub(crate) fn unpack(&self, owners: &Path, work: &Path) -> Result<std::path::PathBuf, ImageError> {
        let tree = debian::unpack(&self.suite, &self.packages, Some(EPOCH.into()), Some(owners), work)?;
        for pattern in UNWANTED {
            remove(&tree, pattern)?;
        }
        for (path, mode, content) in FILES {
            let path = tree.join(path);
            let parent = path.parent().unwrap_or(&tree);
            fs::create_dir_all(parent).on("create", parent)?;
            // A link would lead out of the tree.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).on("remove", &path);
                }
                _ => {}
            }
            fs::write(&path, content).on("write", &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).on("write", &path)?;
        }
        // What asks for the list of mounts asks for this.
        let mtab = tree.join("etc/mtab");
        if mtab.symlink_metadata().is_err() {
            symlink("../proc/self/mounts", &mtab).on("create", &mtab)?;
        }
        Ok(tree)
    }

    /// How its file system is made, with a UUID that follows from its recipe.
    pub(crate) fn kind<'a>(&self, owners: &'a Path) -> Kind<'a> {
        let key = self.root_key();
        // Version 8 of RFC 9562: digits of the maker's choice.
        let uuid =
            format!("{}-{}-8{}-8{}-{}", &key[..8], &key[8..12], &key[13..16], &key[17..20], &key[20..32]);
        Kind { spare_bytes: SPARE_BYTES, owners: Some(owners), fixed: Some(Fixed { uuid, epoch: EPOCH }) }
    }
}

/// Removes what the pattern means.
fn remove(tree: &Path, pattern: &str) -> Result<(), ImageError> {
    let path = tree.join(pattern);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(());
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().on("list", directory)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).on("list", directory),
    };
    for entry in entries {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let (start, end) = name.split_once('*').unwrap_or((name, ""));
        let fits = found.starts_with(start) && found.ends_with(end);
        if !fits || (!name.contains('*') && found != name) {
            continue;
        }
        let path = entry.path();
        let is_directory = entry.file_type().on("look at", &path)?.is_dir();
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.on("remove", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_each_machines_own_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path();
        for path in
            ["etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_config", "etc/machine-id", "var/log/apt/term.log"]
        {
            fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            fs::write(tree.join(path), "x").unwrap();
        }
        fs::write(tree.join("etc/machine-id-not"), "x").unwrap();
        for pattern in UNWANTED {
            remove(tree, pattern).unwrap();
        }
        let there = |path: &str| tree.join(path).exists();
        assert!(!there("etc/ssh/ssh_host_rsa_key") && !there("etc/machine-id") && !there("var/log/apt"));
        assert!(there("etc/ssh/ssh_config") && there("etc/machine-id-not") && there("var/log"));
    }

    #[test]
    fn other_packages_are_another_root_and_another_agent_is_not() {
        let recipe = BenchRecipe::new(TinyRecipe::new(vec![1]));
        let key = recipe.root_key();
        assert_eq!(BenchRecipe::new(TinyRecipe::new(vec![2])).root_key(), key);
        let mut other = recipe.clone();
        other.packages.push("netperf".into());
        assert_ne!(other.root_key(), key);
        let uuid = recipe.kind(Path::new("")).fixed.unwrap().uuid;
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!((lengths, &uuid[14..15], &uuid[19..20]), (vec![8, 4, 4, 4, 12], "8", "8"));
    }
}
