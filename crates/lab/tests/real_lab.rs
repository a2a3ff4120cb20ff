//! The lab that `lab/test.sh` has started: its files, and what would harm a host that is somebody's: KVM that is broken.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use common::{KvmHost, finding, named};
use serde_json::Value;

fn virtmark(arguments: &[&str]) -> Output {
    Command::new(named("LAB_VIRTMARK")).arg("lab").args(arguments).output().unwrap()
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_files_go_in_and_come_out() {
    let host = KvmHost::new("files");
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    // Larger than a frame, and no multiple of one.
    let content: Vec<u8> = (0..3_000_001u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&source, &content).unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o750)).unwrap();
    let put = virtmark(&["put", source.to_str().unwrap(), "/tmp/travels"]);
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    let inside = host.run("sha256sum < /tmp/travels; stat -c %a /tmp/travels").stdout;
    let expected = virtmark_image::sha256_file(&source).unwrap();
    assert_eq!(inside, format!("{expected}  -\n750\n"));
    let get = virtmark(&["get", "/tmp/travels", target.to_str().unwrap()]);
    assert!(get.status.success(), "{}", String::from_utf8_lossy(&get.stderr));
    assert!(std::fs::read(&target).unwrap() == content);
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o750);
    // What is not there leaves nothing here.
    let absent = place.path().join("absent");
    let get = virtmark(&["get", "/tmp/nowhere", absent.to_str().unwrap()]);
    let words = String::from_utf8_lossy(&get.stderr).into_owned();
    assert!(!get.status.success() && words.contains("/tmp/nowhere"), "{words}");
    assert!(!absent.exists());
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_doctor_sees_huge_pages_that_are_reserved() {
    let host = KvmHost::new("pages");
    assert_eq!(finding(&host.doctor(), "huge-pages").1, "none reserved");
    let reserve = |pages: u32| format!("echo {pages} > /proc/sys/vm/nr_hugepages");
    let checks = host.run(&format!("{}; virtmark doctor --json; {}", reserve(16), reserve(0))).json();
    let words = finding(&checks, "huge-pages").1;
    assert!(words.contains(" free, "), "{words}");
}

#[test]
#[ignore = "needs the lab: make lab-test"]
fn real_kvm_that_is_broken_is_told_apart() {
    let host = KvmHost::new("broken");
    assert_eq!(finding(&host.doctor(), "kvm").0, "good");
    // Module missing.
    let run =
        host.run("modprobe -r kvm_amd kvm && virtmark doctor --json; code=$?; modprobe kvm_amd; exit $code");
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    let check = checks.as_array().unwrap().iter().find(|check| check["id"] == "kvm-node").unwrap();
    assert!(check["finding"].as_str().unwrap().starts_with("not there"), "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("modprobe kvm_amd"), "{check}");
    assert_eq!(finding(&checks, "nested").1, "not a setting here: neither kvm_intel nor kvm_amd is loaded");
    assert!(finding(&checks, "kvm").1.starts_with("no: /dev/kvm: it is not there"), "{checks:#}");
    // Nesting switched off, which is no harm to KVM.
    let run = host.run(
        "modprobe -r kvm_amd && modprobe kvm_amd nested=0 && virtmark doctor --json; code=$?
        modprobe -r kvm_amd && modprobe kvm_amd; exit $code",
    );
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(finding(&checks, "nested").1.starts_with("off (kvm_amd)"), "{checks:#}");
    assert_eq!(finding(&checks, "kvm").0, "good");
    // Node that this user may not open.
    let run = host.run(
        "chmod 600 /dev/kvm; mkdir -p $WORK/nobody; chown 65534 $WORK/nobody
        HOME=$WORK/nobody setpriv --reuid 65534 --regid 65534 --clear-groups virtmark doctor --json",
    );
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(finding(&checks, "kvm-node").1.starts_with("this user may not open it"), "{checks:#}");
    assert!(finding(&checks, "kvm").1.starts_with("no: /dev/kvm: this user may not open it"), "{checks:#}");
    // A node whose guests are never heard of.
    let run = host.run(
        "printf '#!/bin/sh\\ncase \"$*\" in *accel*) exec qemu-system-x86_64 \"$@\" -append quiet;; esac
        exec qemu-system-x86_64 \"$@\"\\n' > $WORK/mute; chmod 755 $WORK/mute; virtmark doctor --qemu $WORK/mute --json",
    );
    let checks: Value = serde_json::from_str(&run.stdout).unwrap();
    let (status, words) = finding(&checks, "kvm");
    assert_eq!(status, "warning", "{checks:#}");
    assert!(
        words.starts_with("present but unusable: /dev/kvm opens, but a guest did not reach user space"),
        "{words}"
    );
}
