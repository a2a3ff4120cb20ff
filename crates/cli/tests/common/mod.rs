//! The program in a world of its own: archive, cache and run directories in a temporary place.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A temporary place for everything that the program keeps.
pub struct World {
    pub directory: TempDir,
}

impl World {
    pub fn new() -> Self {
        // Short, so that run directories fit.
        let directory = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        for part in ["run", "scratch", "cache"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.path("archive.sqlite")
    }

    /// A shell script of this name.
    pub fn script(&self, name: &str, lines: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The program with these arguments.
    pub fn virtmark(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_virtmark"));
        command.args(arguments);
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command.env_remove("NO_COLOR").timeout(std::time::Duration::from_secs(60));
        command
    }

    pub fn environment(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("VIRTMARK_ARCHIVE", self.archive()),
            ("VIRTMARK_CACHE", self.path("cache")),
            ("VIRTMARK_RUN_DIR", self.path("run")),
            ("VIRTMARK_SCRATCH", self.path("scratch")),
        ]
    }

    /// What the program prints as JSON when all goes well.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.virtmark(arguments).assert().success().get_output().stdout.clone();
        serde_json::from_slice(&output).unwrap()
    }

    /// Nothing of a run is left.
    pub fn assert_clean(&self) {
        for part in ["run", "scratch"] {
            assert_eq!(run_directories(&self.path(part)), Vec::<PathBuf>::new());
        }
    }
}

/// Directories of runs: everything but the lock of their root.
fn run_directories(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name.contains('-') && name.starts_with(|first: char| first.is_ascii_digit()) {
                    found.push(path.clone());
                }
                pending.push(path);
            }
        }
    }
    found
}
