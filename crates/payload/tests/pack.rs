//! Packing: the same bytes from the same input, and sound ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use virtmark_payload::{
    Code, Limits, OutsideRoot, PackError, SkeletonError, Verdict, create_skeleton, default_file_name, pack,
    unpack_file,
};

const SCRIPT: &str = "#!/bin/sh\necho hello\n";

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn only_file(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn owners_times_masks_and_order_leave_no_trace() {
    let here = tempfile::tempdir().unwrap();
    let names = ["z", "a", "m/b", "m/a", "M", "ä", "a.b", "empty-file"];
    let make = |directory: &Path, order: &mut dyn Iterator<Item = &&str>, modes: [u32; 2], time: &str| {
        write(&directory.join("payload.sh"), SCRIPT, modes[0]);
        order.for_each(|name| write(&directory.join(name), &format!("this is {name}"), modes[1]));
        fs::create_dir(directory.join("empty")).unwrap();
        fs::set_permissions(directory.join("empty"), fs::Permissions::from_mode(modes[0])).unwrap();
        symlink("m/a", directory.join("link")).unwrap();
        let touched = Command::new("find")
            .arg(directory)
            .args(["-exec", "touch", "-h", "-d", time, "{}", "+"])
            .status();
        assert!(touched.unwrap().success());
    };
    let (one, two) = (here.path().join("one"), here.path().join("two"));
    make(&one, &mut names.iter(), [0o755, 0o644], "2020-02-02");
    make(&two, &mut names.iter().rev(), [0o700, 0o660], "2038-01-20");
    // A hard link is the same as a copy.
    fs::remove_file(two.join("z")).unwrap();
    write(&two.join("m/z"), "this is z", 0o600);
    fs::hard_link(two.join("m/z"), two.join("z")).unwrap();
    write(&one.join("m/z"), "this is z", 0o600);

    let packed = pack(&one, &here.path().join("one.tgz")).unwrap();
    assert_eq!(packed.report.verdict, Verdict::Clean, "{:?}", packed.report.findings);
    pack(&two, &here.path().join("two.tgz")).unwrap();
    let bytes = fs::read(here.path().join("one.tgz")).unwrap();
    assert!(bytes == fs::read(here.path().join("two.tgz")).unwrap());
    // No name, no time, no system: RFC 1952, section 2.3.
    assert_eq!(&bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

    // GNU tar agrees on what is in it.
    let listing =
        Command::new("tar").args(["tvzf"]).arg(&packed.file).args(["--utc", "--full-time"]).output().unwrap();
    assert!(listing.status.success() && listing.stderr.is_empty(), "{listing:?}");
    let listing = String::from_utf8(listing.stdout).unwrap();
    let first = listing.lines().next().unwrap();
    assert_eq!(
        first.split_whitespace().collect::<Vec<_>>(),
        ["-rw-r--r--", "0/0", "9", "1980-01-01", "00:00:00", "M"]
    );
    assert!(listing.contains("link -> m/a") && listing.contains("-rwxr-xr-x") && listing.contains("empty/"));
}

#[test]
fn the_bytes_are_those_of_this_version() {
    let here = tempfile::tempdir().unwrap();
    let directory = here.path().join("p");
    write(&directory.join("payload.sh"), SCRIPT, 0o755);
    let packed = pack(&directory, &here.path().join("p.tgz")).unwrap();
    let expected = "8b883e74da249d202f05871b20d7e3444d2db90be2c312ddaa3f5ba078284b2d";
    assert_eq!(packed.report.sha256.as_deref(), Some(expected), "the compressor or the headers changed");
}

#[test]
fn what_is_no_payload_is_not_packed() {
    let here = tempfile::tempdir().unwrap();
    let directory = here.path().join("p");
    let output = here.path().join("out/p.tgz");
    fs::create_dir(here.path().join("out")).unwrap();
    write(&directory.join("payload.sh"), SCRIPT, 0o644);
    let error = pack(&directory, &output).unwrap_err();
    let PackError::Refused { report, .. } = &error else { panic!("{error}") };
    assert_eq!(report.findings[0].code, Code::EntryPointNotExecutable);
    assert!(error.to_string().contains("chmod 755"), "{error}");
    assert_eq!(only_file(&here.path().join("out")), Vec::<String>::new());

    write(&directory.join("payload.sh"), SCRIPT, 0o755);
    write(&directory.join("tool"), "", 0o4755);
    assert!(pack(&directory, &output).unwrap_err().to_string().contains("set-user-ID"));
    fs::remove_file(directory.join("tool")).unwrap();

    assert!(Command::new("mkfifo").arg(directory.join("pipe")).status().unwrap().success());
    assert!(matches!(pack(&directory, &output), Err(PackError::Kind { path }) if path.ends_with("pipe")));
    fs::remove_file(directory.join("pipe")).unwrap();

    assert!(matches!(pack(&directory, &directory.join("p.tgz")), Err(PackError::OutputInside { .. })));
    assert!(matches!(pack(&here.path().join("none"), &output), Err(PackError::Io { .. })));

    // What was there stays until there is something better.
    fs::write(&output, "old").unwrap();
    write(&directory.join("payload.sh"), "echo\n", 0o755);
    assert!(pack(&directory, &output).is_err());
    assert_eq!(fs::read(&output).unwrap(), b"old");
    write(&directory.join("payload.sh"), SCRIPT, 0o755);
    pack(&directory, &output).unwrap();
    assert_eq!(only_file(&here.path().join("out")), ["p.tgz"]);
}

#[test]
fn the_file_is_called_what_the_manifest_says() {
    let here = tempfile::tempdir().unwrap();
    let directory = here.path().join("mine");
    fs::create_dir(&directory).unwrap();
    assert_eq!(default_file_name(&directory).unwrap(), "mine.tgz");
    fs::write(directory.join("payload.toml"), "version = '2.1'").unwrap();
    assert_eq!(default_file_name(&directory).unwrap(), "mine-2.1.tgz");
    fs::write(directory.join("payload.toml"), "name = 'other'\nversion = '2.1'").unwrap();
    assert_eq!(default_file_name(&directory).unwrap(), "other-2.1.tgz");
}

#[test]
fn a_skeleton_is_a_payload() {
    let here = tempfile::tempdir().unwrap();
    let directory = create_skeleton(here.path(), "first").unwrap();
    let packed = pack(&directory, &here.path().join("first.tgz")).unwrap();
    assert_eq!(packed.report.verdict, Verdict::Clean, "{:?}", packed.report.findings);
    assert_eq!(packed.report.manifest.unwrap().name.as_deref(), Some("first"));
    let mut run = Command::new(directory.join("payload.sh"));
    let output = run.env_clear().env("BENCH_ROOT", &directory).env("ROUNDS", "20").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let results = virtmark_payload::metric::Results::read(output.stdout.as_slice()).unwrap();
    assert_eq!((results.metrics.len(), results.malformed.len()), (1, 0));
    assert!(matches!(create_skeleton(here.path(), "first"), Err(SkeletonError::Exists { .. })));
    assert!(matches!(create_skeleton(here.path(), "../x"), Err(SkeletonError::Name { .. })));
}

/// Files by path: at most two directories deep.
fn tree() -> impl Strategy<Value = BTreeMap<String, (Vec<u8>, bool)>> {
    let path = "([a-zé ]{1,4}/){0,2}[A-Z]{1,150}";
    prop::collection::btree_map(path, (prop::collection::vec(any::<u8>(), 0..3000), any::<bool>()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_packed_is_clean_and_unpacks_to_the_same(tree in tree()) {
        let here = tempfile::tempdir().unwrap();
        let directory = here.path().join("p");
        write(&directory.join("payload.sh"), SCRIPT, 0o755);
        for (path, (contents, executable)) in &tree {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, contents).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o640 })).unwrap();
        }
        let packed = pack(&directory, &here.path().join("p.tgz")).unwrap();
        // Random bytes can be a script of Windows.
        let mut findings = packed.report.findings.iter();
        prop_assert!(findings.all(|finding| finding.code == Code::ScriptLineEndings));
        prop_assert_eq!(packed.report.entries.files, tree.len() as u64 + 1);
        for unpacker in ["ours", "tar"] {
            let root = here.path().join(unpacker);
            if unpacker == "tar" {
                fs::create_dir(&root).unwrap();
                let status = Command::new("tar").arg("xzf").arg(&packed.file).arg("-C").arg(&root).status().unwrap();
                prop_assert!(status.success());
            } else {
                unpack_file(&packed.file, &root, &Limits::default(), OutsideRoot::Refuse).unwrap();
            }
            for (path, (contents, executable)) in &tree {
                let path: PathBuf = root.join(path);
                prop_assert_eq!(&fs::read(&path).unwrap(), contents);
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                prop_assert_eq!(mode & 0o100 != 0, *executable);
            }
        }
    }
}
