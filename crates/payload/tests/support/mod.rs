//! Archives made byte by byte, and what must hold for any of them.
#![allow(dead_code, reason = "each test and fuzz target uses its part")]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use virtmark_payload::{Limits, OutsideRoot, Report, Verdict, lint, unpack};

pub(crate) const SCRIPT: &[u8] = b"#!/bin/sh\necho hello\n";

/// A tar archive that may have anything wrong with it.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// With a sound `payload.sh`.
    pub(crate) fn payload() -> Self {
        Self::default().file("payload.sh", 0o755, SCRIPT)
    }

    pub(crate) fn file(self, path: &str, mode: u32, data: &[u8]) -> Self {
        self.entry(path.as_bytes(), b'0', mode, "", data)
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(path.as_bytes(), b'5', 0o755, "", b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path.as_bytes(), b'2', 0o777, target, b"")
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path.as_bytes(), b'1', 0o644, target, b"")
    }

    pub(crate) fn entry(mut self, path: &[u8], kind: u8, mode: u32, target: &str, data: &[u8]) -> Self {
        self.0.extend(header(path, kind, mode, target, data.len() as u64));
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A pax header with one record, for the entry that follows.
    pub(crate) fn pax(self, kind: u8, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let length = (1..9999).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
        self.entry(b"pax", kind, 0o644, "", format!("{length}{rest}").as_bytes())
    }

    /// The end marked, and compressed.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        gzip(&self.0)
    }
}

/// A ustar header.
pub(crate) fn header(path: &[u8], kind: u8, mode: u32, target: &str, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    header[..path.len()].copy_from_slice(path);
    header[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"02264745200\0");
    header[156] = kind;
    header[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    checksum(&mut header);
    header
}

pub(crate) fn checksum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn limits() -> Limits {
    Limits { unpacked_bytes: 1 << 20, ratio: 200, entries: 100 }
}

/// Any bytes as an archive: a report that makes sense, and unpacking that stays below its root and agrees with it.
pub(crate) fn check_any_archive(bytes: &[u8]) -> Report {
    let report = lint(bytes, &limits()).unwrap();
    let errors = report.errors().count();
    assert_eq!(report.verdict == Verdict::Errors, errors > 0);
    assert_eq!(report.verdict == Verdict::Clean, report.findings.is_empty());
    assert!(report.complete || report.verdict == Verdict::Errors, "{report:?}");
    assert_eq!(report.complete, report.sha256.is_some());
    assert!(report.unpacked_bytes <= limits().unpacked_bytes + (64 << 10));
    let beside = tempfile::tempdir().unwrap();
    let root = beside.path().join("root");
    let unpacked = unpack(bytes, &root, &limits(), OutsideRoot::Refuse);
    if report.verdict == Verdict::Clean {
        assert!(unpacked.is_ok(), "{unpacked:?}\n{report:?}");
    }
    let names: Vec<_> =
        std::fs::read_dir(beside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "root"), "{names:?}");
    report
}

/// The tar inside a gzip file is what is fuzzed: the checksums of both must not stop the fuzzer at the door.
pub(crate) fn check_any_tar(bytes: &[u8]) -> Report {
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + 512) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        checksum(header);
        let size = header[124..135].iter().map_while(|byte| char::from(*byte).to_digit(8));
        let size = size.fold(0_usize, |size, digit| size.saturating_mul(8).saturating_add(digit as usize));
        at = at.saturating_add(512).saturating_add(size.next_multiple_of(512).max(size));
    }
    check_any_archive(&gzip(&tar))
}
