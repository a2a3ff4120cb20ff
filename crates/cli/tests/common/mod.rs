//! The program in a world of its own: archive, cache and run directories in a temporary place.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod service;
pub mod sweeps;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A temporary place for everything that the program keeps.
pub struct World {
    pub directory: TempDir,
    cache: Option<PathBuf>,
}

impl World {
    pub fn new() -> Self {
        // Short, so that run directories fit.
        let directory = tempfile::Builder::new().prefix("vm").tempdir_in("/tmp").unwrap();
        for part in ["run", "scratch", "cache"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        Self { cache: Some(directory.path().join("cache")), directory }
    }

    /// A world with the user's own cache, for machines that really boot: kernels are fetched once.
    pub fn real() -> Self {
        Self { cache: None, ..Self::new() }
    }

    /// Gives a real world a cache of its own, with the kernels of the user's.
    pub fn own_cache_with_kernels(&mut self) {
        let kernels =
            virtmark_image::Store::open(virtmark_image::Store::default_dir().unwrap()).unwrap().kernels_dir();
        let cache = self.path("cache");
        std::os::unix::fs::symlink(kernels, cache.join("kernels")).unwrap();
        self.cache = Some(cache);
    }

    /// Mounts a file system with room for 1 MiB over one of the directories; none, with the reason printed, where that
    /// is not allowed.
    pub fn small_tmpfs(&self, name: &str) -> Option<Mounted> {
        let place = self.path(name);
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(&place)
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Mounted(place));
        }
        eprintln!("skipped: only root may mount the small file system that this test fills");
        None
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
        self.command(Path::new(env!("CARGO_BIN_EXE_virtmark")), arguments)
    }

    /// A program that runs this one, with these arguments.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        // A bound on what hangs, and no judgement of speed: tests share their machine.
        command.env_remove("NO_COLOR").timeout(std::time::Duration::from_secs(240));
        command
    }

    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables = vec![
            ("VIRTMARK_ARCHIVE", self.archive()),
            ("VIRTMARK_RUN_DIR", self.path("run")),
            ("VIRTMARK_SCRATCH", self.path("scratch")),
        ];
        variables.extend(self.cache.clone().map(|cache| ("VIRTMARK_CACHE", cache)));
        variables
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

/// A mounted file system, unmounted with this.
pub struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg(&self.0).status().unwrap();
    }
}

/// The phases of an exported sample: name and nanoseconds.
pub fn phases_of(sample: &Value) -> Vec<(String, u64)> {
    let phases = sample["phases"].as_array().unwrap();
    phases
        .iter()
        .map(|phase| (phase["name"].as_str().unwrap().to_owned(), phase["duration_ns"].as_u64().unwrap()))
        .collect()
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

/// Samples in the archive so far; none while it is being made.
pub fn measured(world: &World) -> i64 {
    let open =
        rusqlite::Connection::open_with_flags(world.archive(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    let Ok(database) = open else { return 0 };
    database.query_row("SELECT count(*) FROM samples", [], |row| row.get(0)).unwrap_or(0)
}

/// Waits until the condition holds, for at most a minute.
pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for 60 s in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal to a process of this test.
pub fn kill(signal: &str, pid: u32) {
    let status = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}
