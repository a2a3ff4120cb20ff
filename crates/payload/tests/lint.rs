//! Every finding has an archive made for it; nothing else is found in that archive, and nothing in sound ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use support::{SCRIPT, Tar, check_any_archive, check_any_tar, gzip, header, limits};
use virtmark_payload::{Code, Limits, Report, Severity, Verdict, lint};

fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

/// What is wrong, the archive, and a word of the message.
fn cases() -> Vec<(Code, Vec<u8>, &'static str)> {
    use Code::*;
    let sound = Tar::payload().end();
    let script = |text: &[u8]| Tar::default().file("payload.sh", 0o755, text).end();
    let manifest = |text: &[u8]| Tar::payload().file("payload.toml", 0o644, text).end();
    let with = |add: &dyn Fn(Tar) -> Tar| add(Tar::payload()).end();
    let unmarked = Tar::payload().0;
    let long = "x".repeat(256);
    let mut bad_checksum = sound.clone();
    let crc = bad_checksum.len() - 8;
    bad_checksum[crc] ^= 1;
    let mut bad_header = Tar::payload().file("a", 0o644, b"").0;
    bad_header[1024] = b'b';
    bad_header.extend([0; 1024]);
    let mut bad_size = header(b"a", b'0', 0o644, "", 0);
    bad_size[124..127].copy_from_slice(b"zzz");
    support::checksum(&mut bad_size);
    let bad_size = [Tar::payload().0, bad_size.to_vec(), vec![0; 1024]].concat();
    vec![
        (Duplicate, with(&|tar| tar.file("a", 0o644, b"1").file("./a", 0o644, b"2")), "twice"),
        (Duplicate, with(&|tar| tar.file("payload.sh", 0o755, SCRIPT)), "twice"),
        (Duplicate, with(&|tar| tar.directory("a/").symlink("a", "b")), "twice"),
        (EntryPointNotExecutable, Tar::default().file("payload.sh", 0o644, SCRIPT).end(), "mode 0644"),
        (EntryPointNotExecutable, Tar::default().file("./payload.sh", 0o055, SCRIPT).end(), "mode 0055"),
        (EntryPointNotRegular, Tar::default().directory("payload.sh").end(), "directory"),
        (
            EntryPointNotRegular,
            Tar::default().file("a", 0o755, SCRIPT).symlink("payload.sh", "a").end(),
            "link",
        ),
        (
            EntryPointNotRegular,
            Tar::default().file("a", 0o755, SCRIPT).hard_link("payload.sh", "a").end(),
            "link",
        ),
        (GzipDamaged, bad_checksum, "damaged"),
        (GzipTrailing, [sound.clone(), b"garbage".to_vec()].concat(), "follows"),
        (GzipTruncated, sound[..sound.len() - 4].to_vec(), "ends after"),
        (GzipTruncated, sound[..sound.len() / 2].to_vec(), "in the middle"),
        (HardLink, with(&|tar| tar.hard_link("a", "/etc/passwd")), "out of the root"),
        (HardLink, with(&|tar| tar.hard_link("a", "../passwd")), "no file"),
        (HardLink, with(&|tar| tar.hard_link("a", "b").file("b", 0o644, b"")), "no file"),
        (HardLink, with(&|tar| tar.hard_link("a", "a")), "no file"),
        (LineEndings, script(b"#!/bin/sh\r\necho\r\n"), "line 1"),
        (LineEndings, script(b"#!/bin/sh\necho\r\n"), "line 2"),
        (LineEndings, script(b"#!/bin/sh\recho\r"), "Macintosh"),
        (LinkOutsideRoot, with(&|tar| tar.symlink("a", "/etc/passwd")), "/etc/passwd"),
        (LinkOutsideRoot, with(&|tar| tar.symlink("d/a", "../../etc/passwd")), "out of the root"),
        (ManifestInvalid, manifest(b"name = "), "line 1"),
        (ManifestInvalid, manifest(&[b'#'; 70_000]), "more than 65536"),
        (ManifestInvalid, with(&|tar| tar.directory("payload.toml")), "regular"),
        (ManifestUnknownKey, manifest(b"timeout = 3"), "\"timeout\""),
        (NameTooLong, with(&|tar| tar.pax(b'x', "path", &long).file("a", 0o644, b"")), "too long"),
        (NoEntryPoint, Tar::default().file("a", 0o644, b"").end(), "there is no payload.sh"),
        (
            NoEntryPoint,
            Tar::default().directory("x/").file("x/payload.sh", 0o755, SCRIPT).end(),
            "only this one",
        ),
        (NoEntryPoint, gzip(&[0; 1024]), "there is no"),
        (NotGzip, vec![], "empty"),
        (NotGzip, b"PK\x03\x04".to_vec(), "zip"),
        (NotGzip, b"\x1f\x8b\x07\0\0\0\0\0\0\0\0\0".to_vec(), "not compressed by gzip"),
        (NotGzip, [unmarked.clone(), vec![0; 1024]].concat(), "not compressed"),
        (NotTar, gzip(b""), "nothing in it"),
        (NotTar, gzip(b"hello"), "compressed"),
        (NotTar, gzip(&[b'x'; 2000]), "no tar archive"),
        (OddName, with(&|tar| tar.file("a\nb", 0o644, b"")), "control character"),
        (OddName, with(&|tar| tar.entry(b"\xff", b'0', 0o644, "", b"")), "not UTF-8"),
        (OutsideRoot, with(&|tar| tar.file("/etc/motd", 0o644, b"")), "outside of the root"),
        (ParentPath, with(&|tar| tar.file("../motd", 0o644, b"")), "`..`"),
        (ParentPath, with(&|tar| tar.file("a/../b", 0o644, b"")), "`..`"),
        (PathConflict, with(&|tar| tar.file("a", 0o644, b"").file("a/b", 0o644, b"")), "below"),
        (PathConflict, with(&|tar| tar.file("a/b", 0o644, b"").file("a", 0o644, b"")), "before it"),
        (PathConflict, with(&|tar| tar.file(".", 0o644, b"")), "root itself"),
        (ScriptLineEndings, with(&|tar| tar.file("b.py", 0o755, b"#!/usr/bin/python3\r\n")), "line 1"),
        (Setuid, with(&|tar| tar.file("a", 0o4755, b"")), "set-user-ID (mode 4755)"),
        (Setuid, with(&|tar| tar.file("a", 0o2755, b"")), "set-group-ID"),
        (Shebang, script(b""), "empty"),
        (Shebang, script(b"echo hello\n"), "does not begin"),
        (Shebang, script(b"#!sh\n"), "absolute path"),
        (SpecialFile, with(&|tar| tar.entry(b"a", b'3', 0o644, "", b"")), "character device"),
        (SpecialFile, with(&|tar| tar.entry(b"a", b'4', 0o644, "", b"")), "block device"),
        (SpecialFile, with(&|tar| tar.entry(b"a", b'6', 0o644, "", b"")), "named pipe"),
        (TarDamaged, gzip(&bad_header), "checksum"),
        (TarDamaged, gzip(&bad_size), "size is no number"),
        (TarDamaged, with(&|tar| tar.entry(b"d", b'5', 0o755, "", b"data")), "readers disagree"),
        (TarDamaged, with(&|tar| tar.pax(b'g', "path", "a").file("a", 0o644, b"")), "all entries"),
        (TarDamaged, with(&|tar| tar.pax(b'x', "size", "x").file("a", 0o644, b"")), "no number"),
        (
            TarDamaged,
            with(&|tar| tar.entry(b"pax", b'x', 0o644, "", b"nonsense").file("a", 0o644, b"")),
            "key=value",
        ),
        (TarDamaged, with(&|tar| tar.entry(b"L", b'L', 0o644, "", &[b'x'; 70_000])), "longer than any name"),
        (TarDamaged, with(&|tar| tar.pax(b'x', "path", "a\0b").file("a", 0o644, b"")), "no name"),
        (TarNoEnd, gzip(&unmarked), "missing"),
        (TarNoEnd, gzip(&[unmarked.clone(), vec![0; 512]].concat()), "missing"),
        (TarTrailing, gzip(&[unmarked.clone(), vec![0; 1024], unmarked.clone()].concat()), "follows"),
        (TarTruncated, gzip(&unmarked[..520]), "middle of an entry"),
        (TarTruncated, gzip(&unmarked[..unmarked.len() - 1]), "middle of an entry"),
        (TarTruncated, gzip(&[unmarked.clone(), vec![b'x'; 100]].concat()), "middle of an entry"),
        (ThroughLink, with(&|tar| tar.symlink("a", "b").file("a/c", 0o644, b"")), "wherever that leads"),
        (TooLarge, with(&|tar| tar.file("a", 0o644, &vec![7; 2 << 20])), "more than 1048576"),
        (
            TooManyEntries,
            with(&|tar| (0..101).fold(tar, |tar, n| tar.file(&format!("{n}"), 0o644, b""))),
            "100",
        ),
        (UnsupportedEntry, with(&|tar| tar.entry(b"a", b'S', 0o644, "", b"")), "sparse"),
        (UnsupportedEntry, with(&|tar| tar.entry(b"a", b'V', 0o644, "", b"")), "'V'"),
        (
            UnsupportedEntry,
            with(&|tar| tar.pax(b'x', "GNU.sparse.major", "1").file("a", 0o644, b"")),
            "sparse",
        ),
    ]
}

#[test]
fn every_finding_is_found_and_nothing_else() {
    for (code, archive, word) in cases() {
        let report = check_any_archive(&archive);
        assert_eq!(codes(&report), [code], "{word}: {:#?}", report.findings);
        let finding = &report.findings[0];
        assert!(finding.message.contains(word), "{word:?} is not in {:?}", finding.message);
        assert!(!finding.remedy.is_empty());
        let expected = if finding.severity == Severity::Error { Verdict::Errors } else { Verdict::Warnings };
        assert_eq!(report.verdict, expected);
    }
}

#[test]
fn every_code_has_an_archive() {
    let mut tested: BTreeSet<Code> = cases().into_iter().map(|(code, ..)| code).collect();
    // Has a test of its own: the archive is a large one.
    tested.insert(Code::Ratio);
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !tested.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_code_is_documented_with_its_weight() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/payload.md");
    let page = std::fs::read_to_string(path).unwrap();
    for code in Code::ALL {
        let row = format!("| `{code}` | {} |", code.severity().as_str());
        assert!(page.contains(&row), "docs/payload.md has no row {row:?}");
    }
}

#[test]
fn a_bomb_is_noticed_before_it_goes_off() {
    let zeros = Tar::payload().file("zeros", 0o644, &vec![0; 80 << 20]).end();
    let report = lint(zeros.as_slice(), &Limits::default()).unwrap();
    assert_eq!(codes(&report), [Code::Ratio]);
    assert!(!report.complete && report.unpacked_bytes < 66 << 20, "{}", report.unpacked_bytes);
    let allowed = Limits { ratio: 2000, ..Limits::default() };
    assert_eq!(lint(zeros.as_slice(), &allowed).unwrap().verdict, Verdict::Clean);
}

#[test]
fn sound_payloads_of_all_shapes_are_clean() {
    let deep = format!("{}/payload.sh", "d".repeat(200));
    let sound = [
        Tar::payload().end(),
        Tar::default().directory("./").file("./payload.sh", 0o755, SCRIPT).end(),
        Tar::payload()
            .directory("d")
            .directory("d/")
            .file("d/a", 0o600, b"x")
            .symlink("d/l", "../payload.sh")
            .end(),
        Tar::payload().hard_link("twin", "./payload.sh").end(),
        Tar::payload().pax(b'x', "path", &deep).file("short", 0o644, b"x").end(),
        Tar::payload().entry(b"L", b'L', 0o644, "", b"long\0").file("short", 0o644, b"x").end(),
        Tar::payload().pax(b'g', "comment", "made by hand").file("a", 0o644, b"x").end(),
        Tar::payload().entry(b"old/", 0, 0o755, "", b"").entry(b"old/a", 0, 0o644, "", b"x").end(),
        Tar::payload()
            .file("windows.txt", 0o644, b"a\r\nb\r\n")
            .file("payload.toml", 0o644, b"name = 'a'")
            .end(),
        // Padded as tapes are.
        [Tar::payload().end(), vec![0; 4096]].concat(),
        gzip(&[Tar::payload().0, vec![0; 10_240]].concat()),
    ];
    for archive in sound {
        let report = check_any_archive(&archive);
        assert_eq!((report.verdict, report.findings.as_slice()), (Verdict::Clean, [].as_slice()));
    }
    // Several members are one stream.
    let tar = [Tar::payload().0, vec![0; 1024]].concat();
    let members = [gzip(&tar[..300]), gzip(&tar[300..])].concat();
    assert_eq!(check_any_archive(&members).verdict, Verdict::Clean);
}

#[test]
fn several_findings_are_told_together() {
    let archive = Tar::default()
        .file("payload.sh", 0o644, b"echo\r\n")
        .file("../x", 0o4755, b"")
        .symlink("l", "/")
        .file("payload.toml", 0o644, b"[")
        .end();
    use Code::*;
    let expected =
        [EntryPointNotExecutable, Shebang, LineEndings, ParentPath, Setuid, LinkOutsideRoot, ManifestInvalid];
    assert_eq!(codes(&check_any_archive(&archive)), expected);
}

#[test]
fn findings_of_a_hostile_archive_are_counted_and_not_kept() {
    let tar = (0..700).fold(Tar::payload(), |tar, n| tar.file(&format!("/{n}"), 0o644, b""));
    let report = lint(tar.end().as_slice(), &Limits::default()).unwrap();
    assert_eq!((report.findings.len(), report.findings_left_out), (500, 200));
    assert_eq!(report.verdict, Verdict::Warnings);
}

#[test]
fn the_report_as_json() {
    let archive = Tar::default()
        .file("payload.sh", 0o644, SCRIPT)
        .directory("data/")
        .symlink("l", "payload.sh")
        .file("/etc/motd", 0o644, b"")
        .file("payload.toml", 0o644, b"name = 'mine'\ntimeout_s = 5\ntools = ['ls']\n")
        .end();
    let mut report = serde_json::to_value(lint(archive.as_slice(), &limits()).unwrap()).unwrap();
    // They hang on the compressor.
    assert_eq!(report["packed_bytes"], archive.len());
    report["packed_bytes"] = 0.into();
    assert_eq!(report["sha256"].as_str().unwrap().len(), 64);
    report["sha256"] = "…".into();
    let text = serde_json::to_string_pretty(&report).unwrap() + "\n";
    assert_eq!(text, include_str!("golden/report.json"));
}

/// Sound archives, to be damaged.
fn archive() -> impl Strategy<Value = Vec<u8>> {
    let entry = (0..8_u8, "[ab./]{1,6}", prop::collection::vec(any::<u8>(), 0..600));
    prop::collection::vec(entry, 0..6).prop_map(|entries| {
        let add = |tar: Tar, (kind, path, data): (u8, String, Vec<u8>)| match kind {
            0 | 1 => tar.file(&path, 0o644, &data),
            2 => tar.directory(&path),
            3 => tar.symlink(&path, "a/../b"),
            4 => tar.hard_link(&path, "payload.sh"),
            5 => tar.pax(b'x', "path", &path).file("x", 0o644, &data),
            6 => tar.file("payload.toml", 0o644, &data),
            _ => tar.entry(path.as_bytes(), data.first().copied().unwrap_or(b'7'), 0o7777, "", b""),
        };
        let mut tar = entries.into_iter().fold(Tar::payload(), add).0;
        tar.extend([0; 1024]);
        tar
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_told_or_taken(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        check_any_archive(&bytes);
        check_any_tar(&bytes);
    }

    #[test]
    fn damaged_archives_are_told_or_harmless(
        tar in archive(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut damaged = tar.clone();
        for (at, byte) in &flips {
            let at = at.index(damaged.len());
            damaged[at] = *byte;
        }
        check_any_tar(&damaged);
        // Without new checksums.
        check_any_archive(&gzip(&damaged));
    }

    /// A flipped bit is found, or was one that says nothing: the time in the header, what fills the last byte.
    #[test]
    fn one_flipped_bit_is_found(tar in archive(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut file = gzip(&tar);
        let sound = check_any_archive(&file);
        let at = at.index(file.len());
        file[at] ^= 1_u8 << bit;
        let report = check_any_archive(&file);
        let same = Report { sha256: sound.sha256.clone(), ..report.clone() };
        prop_assert!(report.verdict == Verdict::Errors || same == sound);
        prop_assert!(report.sha256 != sound.sha256 || !report.complete);
    }

    #[test]
    fn a_cut_file_is_found(tar in archive(), at in any::<prop::sample::Index>()) {
        let file = gzip(&tar);
        let report = check_any_archive(&file[..at.index(file.len())]);
        prop_assert!(!report.complete && report.verdict == Verdict::Errors);
    }
}
