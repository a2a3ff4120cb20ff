//! The guest's shell and tools: one static program under many names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::digest::sha256;
use crate::elf::{Elf, PT_INTERP};
use crate::error::IoContext;
use crate::{Arch, ImageError};

/// Names that programs are likely to run by path, as links in the image.
///
/// Linux spends about 50,000 instructions on unpacking a link; all 269 of Debian's busybox would make up two percent of a
/// boot. Debian's shell runs its applets without any link; for the others there is a list.
const LINKED: [&str; 26] = [
    "[", "ash", "awk", "cat", "cp", "date", "dd", "echo", "env", "false", "grep", "head", "id", "ls",
    "mkdir", "mount", "ps", "rm", "sed", "seq", "sh", "sleep", "test", "true", "uname", "wc",
];

/// A busybox that a guest can run.
#[derive(Debug)]
pub(crate) struct Busybox {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
    /// Applets with a link in the image.
    pub(crate) linked: BTreeSet<String>,
    /// Applets without one.
    pub(crate) unlinked: BTreeSet<String>,
}

impl Busybox {
    /// Reads a busybox and asks it for its applets.
    ///
    /// Errors: it is missing, not static, for other machines, has no shell, or does not run here.
    pub(crate) fn read(path: &Path, arch: Arch) -> Result<Self, ImageError> {
        let unusable = |reason: String| ImageError::Busybox { path: path.to_owned(), reason };
        if !path.exists() {
            return Err(unusable("it does not exist".to_owned()));
        }
        let bytes = fs::read(path).on("read", path)?;
        check_static(&bytes, arch).map_err(unusable)?;
        let output = Command::new(path)
            .arg("--list")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .on("run", path)?;
        if !output.status.success() {
            return Err(unusable(format!("`--list` ended with {}", output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let applets = text
            .lines()
            .map(str::trim)
            .filter(|name| !matches!(*name, "" | "." | ".." | "busybox") && !name.contains('/'))
            .map(str::to_owned);
        let (linked, unlinked) = applets.partition(|name: &String| LINKED.contains(&name.as_str()));
        let busybox = Self { path: path.to_owned(), sha256: sha256(&bytes), bytes, linked, unlinked };
        if busybox.linked.contains("sh") { Ok(busybox) } else { Err(unusable("it has no shell".to_owned())) }
    }
}

/// A program that asks for a loader would need libraries, which the image does not have.
fn check_static(bytes: &[u8], arch: Arch) -> Result<(), String> {
    let elf = Elf::parse(bytes).map_err(|found| format!("it is {found}"))?;
    if elf.machine() != arch.elf_machine() {
        return Err(format!("it is not a program for {arch}"));
    }
    if elf.segments()?.iter().any(|segment| segment.kind == PT_INTERP) {
        return Err("it is linked dynamically".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_names_are_sorted_and_unique() {
        assert!(LINKED.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_cannot_run_in_a_guest_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busybox");
        let refusal = || Busybox::read(&path, Arch::X86_64).unwrap_err().to_string();
        assert!(refusal().contains("does not exist"));
        fs::write(&path, b"#!/bin/sh\n").unwrap();
        assert!(refusal().contains("not an ELF file"));
        fs::write(&path, crate::testing::elf_file(183, &[], &[])).unwrap();
        assert!(refusal().contains("not a program for x86_64"));
        // The test program itself is dynamic on the targets that this crate is developed on.
        if cfg!(all(target_env = "gnu", not(target_feature = "crt-static"))) {
            fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
            assert!(refusal().contains("dynamically"));
        }
    }
}
