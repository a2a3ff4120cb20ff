//! What keeps a lab from being had: one message with a remedy, an exit code of its own, nothing booted, nothing left.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::World;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

/// A QEMU that would do it, and boots nothing.
fn able(world: &World) -> PathBuf {
    world.script("qemu", "case \"$1\" in --version) echo 'QEMU emulator version 7.2.0';; esac")
}

#[test]
fn too_little_memory_or_disk() {
    let world = World::new();
    let qemu = able(&world);
    let up = |arguments: &[&str]| {
        world.virtmark(&[&["lab", "up", "--qemu", qemu.to_str().unwrap()], arguments].concat())
    };
    up(&["--memory", "900000G"])
        .assert()
        .code(13)
        .stderr(starts_with("virtmark: the lab needs 921600000 MiB of memory, and "))
        .stderr(contains("--memory"));
    if let Some(_mounted) = world.small_tmpfs("cache") {
        up(&["--memory", "64M"])
            .assert()
            .code(14)
            .stderr(starts_with("virtmark: the lab needs 2048 MiB of disk at "))
            .stderr(contains("VIRTMARK_CACHE"));
    }
    world.assert_clean();
}

#[test]
fn a_qemu_without_svm() {
    let world = World::new();
    let lines = "case \"$1\" in --version) echo 'QEMU emulator version 7.2.0'; exit;; esac
        echo \"qemu: warning: TCG doesn't support requested feature: CPUID.80000001H:ECX.svm [bit 2]\" >&2
        echo \"qemu: TCG doesn't support requested features\" >&2; exit 1";
    let qemu = world.script("qemu", lines);
    world
        .virtmark(&["lab", "up", "--memory", "64M", "--qemu", qemu.to_str().unwrap()])
        .assert()
        .code(24)
        .stderr(starts_with("virtmark: the QEMU of this host cannot emulate AMD's virtualisation (svm): "))
        .stderr(contains("ECX.svm [bit 2]").and(predicate::function(|text: &str| text.lines().count() == 1)));
    world
        .virtmark(&["lab", "up", "--qemu", "/nonexistent/qemu"])
        .assert()
        .code(10)
        .stderr(contains("/nonexistent/qemu"));
    world.assert_clean();
}

/// Makes the image, for which the kernel of `make setup` has to be there.
#[test]
fn a_root_that_cannot_be_made() {
    let mut world = World::new();
    world.own_cache_with_kernels();
    let qemu = able(&world);
    let up = |path: &str| {
        let mut command = world.virtmark(&["lab", "up", "--memory", "64M", "--qemu", qemu.to_str().unwrap()]);
        command.env("PATH", path);
        command
    };
    up("/nonexistent").assert().code(24).stderr(contains("with mmdebstrap: it is not installed"));
    let tools = world.path("tools");
    fs::create_dir(&tools).unwrap();
    world.script("tools/mmdebstrap", "echo 'E: download failed: no route to host' >&2; exit 25");
    up(&format!("{}:/usr/bin:/bin", tools.display()))
        .assert()
        .code(24)
        .stderr(contains("with mmdebstrap: it ended with exit status: 25: E: download failed"));
    let volumes = fs::read_dir(world.path("cache/volumes")).unwrap().flatten();
    assert_eq!(volumes.map(|entry| entry.file_name()).collect::<Vec<_>>(), Vec::<std::ffi::OsString>::new());
    world.assert_clean();
}

/// The second of two that start at the same time: the first has the lock, and answers nothing yet.
#[test]
fn two_labs_at_once() {
    let world = World::new();
    let qemu = able(&world);
    let directory = world.path("cache/lab");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("lock"), "4711").unwrap();
    fs::write(directory.join("log"), "of the first\n").unwrap();
    let lock = fs::File::options().read(true).write(true).open(directory.join("lock")).unwrap();
    lock.try_lock().unwrap();
    world
        .virtmark(&["lab", "up", "--memory", "64M", "--qemu", qemu.to_str().unwrap()])
        .assert()
        .code(1)
        .stderr(starts_with("virtmark: a lab is running already (its owner is process 4711): "))
        .stderr(predicate::function(|text: &str| text.lines().count() == 1));
    assert_eq!(fs::read_to_string(directory.join("log")).unwrap(), "of the first\n");
    world.assert_clean();
}

/// The node decides where nothing behind it can run a guest, without a QEMU.
#[test]
fn where_kvm_works_is_told_with_the_reason() {
    let world = World::new();
    let qemu = world.script("qemu", "exit 1");
    let output = world.virtmark(&["lab", "where", "--qemu", qemu.to_str().unwrap()]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "lab\n");
        assert!(words.contains("/dev/kvm"), "{words}");
    } else {
        // There is a KVM that this QEMU could be tried with.
        assert_eq!(output.status.code(), Some(10), "{words}");
    }
    world.assert_clean();
}

#[test]
fn no_lab_is_running() {
    let world = World::new();
    for arguments in [&["lab", "status"][..], &["lab", "exec", "--", "true"], &["lab", "get", "/a", "b"]] {
        world.virtmark(arguments).assert().code(1).stderr(contains("no lab is running")).stdout("");
    }
    world.virtmark(&["lab", "down"]).assert().success().stderr(contains("no lab is running"));
}
