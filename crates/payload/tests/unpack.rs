//! Unpacking: nothing leaves the root, whatever the archive has and whatever is there already.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use support::{Tar, limits};
use virtmark_payload::{Code, Limits, OutsideRoot, ReadError, UnpackError, lint, unpack, unpack_file};

fn refused(archive: &[u8], root: &Path) -> UnpackError {
    unpack(archive, root, &limits(), OutsideRoot::Refuse).unwrap_err()
}

#[test]
fn everything_is_unpacked_as_it_was_packed() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().join("made/on/the/way");
    let archive = Tar::payload()
        .directory("d/")
        .file("d/e/data", 0o640, &[7; 5000])
        .symlink("d/link", "e/data")
        .hard_link("twin", "./d/e/data")
        .file("setuid", 0o4755, b"x")
        .entry(b"closed", b'5', 0o500, "", b"")
        .file("closed/inside", 0o400, b"x")
        .end();
    let unpacked = unpack(archive.as_slice(), &root, &limits(), OutsideRoot::Refuse).unwrap();
    assert_eq!((unpacked.entries, unpacked.bytes), (8, 5000 + support::SCRIPT.len() as u64 + 2));
    let mode = |path: &str| fs::symlink_metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("payload.sh"), mode("d/e/data"), mode("setuid")), (0o755, 0o640, 0o755));
    assert_eq!((mode("closed"), mode("closed/inside")), (0o700, 0o400));
    assert_eq!(fs::read(root.join("twin")).unwrap(), [7; 5000]);
    assert_eq!(fs::read_link(root.join("d/link")).unwrap(), Path::new("e/data"));
    // A second time, over the first.
    unpack(archive.as_slice(), &root, &limits(), OutsideRoot::Refuse).unwrap();
}

#[test]
fn links_are_never_written_through() {
    let here = tempfile::tempdir().unwrap();
    let (root, outside) = (here.path().join("root"), here.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "mine").unwrap();
    fs::create_dir(&root).unwrap();
    symlink(&outside, root.join("there-before")).unwrap();
    symlink(outside.join("file"), root.join("a")).unwrap();
    let target = outside.to_str().unwrap();
    for archive in [
        Tar::payload().symlink("new", target).file("new/file", 0o644, b"theirs").end(),
        Tar::payload().file("there-before/file", 0o644, b"theirs").end(),
        Tar::payload().directory("there-before/made").end(),
        Tar::payload().hard_link("b", "there-before/file").end(),
    ] {
        let error = refused(&archive, &root);
        assert!(matches!(error, UnpackError::Write { .. }), "{error}");
    }
    // A link at the very name is replaced, not followed.
    unpack(
        Tar::payload().file("a", 0o644, b"theirs").end().as_slice(),
        &root,
        &limits(),
        OutsideRoot::Refuse,
    )
    .unwrap();
    assert_eq!(fs::read(root.join("a")).unwrap(), b"theirs");
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn what_leaves_the_root_is_refused_unless_it_is_allowed() {
    let here = tempfile::tempdir().unwrap();
    let root = here.path().join("root");
    let absolute = here.path().join("elsewhere/file");
    let tar = Tar::payload().pax(b'x', "path", absolute.to_str().unwrap()).file("short", 0o644, b"x");
    let archive = tar.end();
    let UnpackError::Payload(finding) = refused(&archive, &root) else { panic!() };
    assert_eq!(finding.code, Code::OutsideRoot);
    assert!(!absolute.exists());
    unpack(archive.as_slice(), &root, &limits(), OutsideRoot::Allow).unwrap();
    assert_eq!(fs::read(&absolute).unwrap(), b"x");

    for (tar, code) in [
        (Tar::payload().file("../x", 0o644, b""), Code::ParentPath),
        (Tar::payload().hard_link("x", "../../etc/passwd"), Code::HardLink),
        (Tar::payload().hard_link("x", "/etc/passwd"), Code::HardLink),
        (Tar::payload().entry(b"x", b'4', 0o644, "", b""), Code::SpecialFile),
        (Tar::payload().entry(b"x", b'S', 0o644, "", b""), Code::UnsupportedEntry),
        (Tar::payload().file("a", 0o644, &vec![7; 2 << 20]), Code::TooLarge),
    ] {
        let UnpackError::Payload(finding) = refused(&tar.end(), &root) else { panic!("{code}") };
        assert_eq!(finding.code, code);
    }
    assert!(!here.path().join("x").exists());
}

#[test]
fn errors_name_the_file() {
    let here = tempfile::tempdir().unwrap();
    let none = here.path().join("none.tgz");
    let error = unpack_file(&none, here.path(), &limits(), OutsideRoot::Refuse).unwrap_err();
    assert!(matches!(error, UnpackError::Read(ReadError::Io { file, .. }) if file == none));
    fs::create_dir_all(here.path().join("root/payload.sh/below")).unwrap();
    let error = refused(&Tar::payload().end(), &here.path().join("root"));
    assert!(error.to_string().contains("payload.sh below"), "{error}");
}

/// 256 MiB of zeros through the linter: what it keeps is not the archive.
#[test]
fn memory_does_not_grow_with_the_archive() {
    let peak_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let size: u64 = 256 << 20;
    let header = support::header(b"zeros", b'0', 0o644, "", size);
    let tar = Tar::payload().0.into_iter().chain(header).collect::<Vec<u8>>();
    let archive = tar.as_slice().chain(io::repeat(0).take(size + 1024));
    // Stored, not compressed, and made while it is read.
    let mut encoder = flate2::read::GzEncoder::new(archive, flate2::Compression::none());
    let before = peak_kib();
    let mut buffered = io::BufReader::new(encoder.by_ref());
    let report = lint(&mut buffered, &Limits::default()).unwrap();
    assert!(report.complete && report.unpacked_bytes > size && report.packed_bytes > size);
    assert!(peak_kib() - before < 16 << 10, "{} KiB more", peak_kib() - before);
}
