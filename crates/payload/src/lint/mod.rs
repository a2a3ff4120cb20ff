//! What is wrong with a payload, found without unpacking it.

mod names;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Serialize;

use crate::finding::{Code, Finding, Severity, Verdict};
use crate::gunzip::{Broken, Gunzip, Limits};
use crate::manifest::{MANIFEST, MANIFEST_LIMIT_BYTES, Manifest};
use crate::shebang::{Return, Script};
use crate::tarball::{Entry, Kind, Tarball};
use crate::{ENTRY_POINT, ReadError};
use names::Names;
pub(crate) use names::{Place, place};

/// Findings that are kept; a hostile archive can have any number.
const FINDINGS_KEPT: usize = 500;

/// What is known of a payload after it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What it is worth.
    pub verdict: Verdict,
    /// Whether it was read to its end; where not, the last finding says why, and nothing is known of the rest.
    pub complete: bool,
    /// Size of the file, as far as it was read.
    pub packed_bytes: u64,
    /// Size of the unpacked archive, headers included, as far as it was read.
    pub unpacked_bytes: u64,
    /// SHA-256 of the file, in hexadecimal; none where it was not read to its end.
    pub sha256: Option<String>,
    /// What is in it.
    pub entries: Entries,
    /// What it says of itself.
    pub manifest: Option<Manifest>,
    /// What was found, in the order of the archive.
    pub findings: Vec<Finding>,
    /// Findings beyond the 500 that are kept.
    pub findings_left_out: u64,
}

/// How many entries of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entries {
    /// Directories that have an entry of their own.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Hard and symbolic links.
    pub links: u64,
    /// Everything else.
    pub others: u64,
}

impl Report {
    /// The findings that forbid running it.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }
}

/// Checks a payload file. An error says that the file could not be read, never that the payload is bad.
pub fn lint_file(file: &Path, limits: &Limits) -> Result<Report, ReadError> {
    let told = |source| ReadError::Io { file: file.to_owned(), source };
    let input = File::open(file).map_err(told)?;
    lint(BufReader::with_capacity(64 << 10, input), limits).map_err(told)
}

/// Checks a payload while it is read, in memory that depends on the number of its entries, never on their size.
pub fn lint(input: impl BufRead, limits: &Limits) -> std::io::Result<Report> {
    let mut linter = Linter::new(Tarball::new(Gunzip::new(input, limits)), limits);
    let complete = match linter.read() {
        Ok(()) => true,
        Err(Broken::Finding(finding)) => {
            linter.found(finding);
            false
        }
        Err(Broken::Io(error)) => return Err(error),
    };
    Ok(linter.report(complete))
}

struct Linter<R> {
    tarball: Tarball<R>,
    names: Names,
    entries: Entries,
    manifest: Option<Manifest>,
    has_entry_point: bool,
    /// Where an entry point is that is not at the root.
    lost_entry_point: Option<Vec<u8>>,
    findings: Vec<Finding>,
    findings_left_out: u64,
    verdict: Verdict,
}

impl<R: BufRead> Linter<R> {
    fn new(tarball: Tarball<R>, limits: &Limits) -> Self {
        Self {
            tarball,
            names: Names::new(limits.entries),
            entries: Entries::default(),
            manifest: None,
            has_entry_point: false,
            lost_entry_point: None,
            findings: Vec::new(),
            findings_left_out: 0,
            verdict: Verdict::Clean,
        }
    }

    fn read(&mut self) -> Result<(), Broken> {
        while let Some(entry) = self.tarball.next()? {
            self.check(&entry)?;
        }
        if !self.tarball.has_marked_end() {
            let message = "the two empty blocks that mark the end of an archive are missing";
            self.found(Finding::new(Code::TarNoEnd, message, "pack it again; some of it may be missing"));
        }
        if !self.has_entry_point {
            let finding = self.no_entry_point();
            self.found(finding);
        }
        Ok(())
    }

    fn no_entry_point(&self) -> Finding {
        let Some(path) = &self.lost_entry_point else {
            let message = format!("there is no {ENTRY_POINT}");
            return Finding::new(
                Code::NoEntryPoint,
                message,
                "add one; `virtmark payload new` makes a first one",
            );
        };
        let message = format!("there is no {ENTRY_POINT} at the root of the archive, only this one");
        let remedy = "pack what is in the directory, not the directory: `virtmark payload pack DIR`";
        Finding::new(Code::NoEntryPoint, message, remedy).on(path)
    }

    fn check(&mut self, entry: &Entry) -> Result<(), Broken> {
        match entry.kind {
            Kind::Directory => self.entries.directories += 1,
            Kind::File => self.entries.files += 1,
            Kind::HardLink | Kind::Symlink => self.entries.links += 1,
            _ => self.entries.others += 1,
        }
        let place = place(&entry.path);
        for finding in self.names.check(entry, &place) {
            self.found(finding);
        }
        if self.names.is_full() {
            let message = format!("has more than {} entries", self.names.limit());
            let remedy = "put them into an archive of their own inside, or raise the limit";
            return Err(Finding::new(Code::TooManyEntries, message, remedy).into());
        }
        self.check_kind(entry);
        if place.is(ENTRY_POINT) {
            self.has_entry_point = true;
            return self.check_entry_point(entry);
        }
        if place.is(MANIFEST) {
            return self.check_manifest(entry);
        }
        if self.lost_entry_point.is_none() && place.is_below_root(ENTRY_POINT) {
            self.lost_entry_point = Some(entry.path.clone());
        }
        if entry.kind == Kind::File { self.check_script(entry) } else { Ok(()) }
    }

    fn check_kind(&mut self, entry: &Entry) {
        let special = match entry.kind {
            Kind::BlockDevice => Some("is a block device"),
            Kind::CharacterDevice => Some("is a character device"),
            Kind::Fifo => Some("is a named pipe"),
            Kind::Unsupported(kind) => {
                let message = match kind {
                    b'S' => "is a sparse file".into(),
                    _ => format!("is of type {:?}, which is not part of the tar standard", char::from(kind)),
                };
                let remedy = "pack it as a plain file, directory or link";
                self.found(Finding::new(Code::UnsupportedEntry, message, remedy).on(&entry.path));
                None
            }
            _ => None,
        };
        if let Some(message) = special {
            let remedy = "make it in payload.sh if the measurement needs it";
            self.found(Finding::new(Code::SpecialFile, message, remedy).on(&entry.path));
        }
        let bits = match entry.mode & 0o6000 {
            0 => return,
            0o2000 => "set-group-ID",
            0o4000 => "set-user-ID",
            _ => "set-user-ID and set-group-ID",
        };
        // On a directory the bit hands on a group, and no rights.
        if entry.kind != Kind::Directory {
            let message = format!("is {bits} (mode {:04o})", entry.mode);
            self.found(Finding::new(Code::Setuid, message, "clear the bit (chmod ug-s)").on(&entry.path));
        }
    }

    fn check_entry_point(&mut self, entry: &Entry) -> Result<(), Broken> {
        if entry.kind != Kind::File {
            let kind = match entry.kind {
                Kind::Directory => "is a directory",
                Kind::HardLink | Kind::Symlink => "is a link",
                _ => "is no regular file",
            };
            let remedy = "put the script itself there";
            self.found(Finding::new(Code::EntryPointNotRegular, kind, remedy).on(&entry.path));
            return Ok(());
        }
        if entry.mode & 0o500 != 0o500 {
            let message = format!("is not readable and executable for its owner (mode {:04o})", entry.mode);
            let remedy = "run `chmod 755 payload.sh` and pack again";
            self.found(Finding::new(Code::EntryPointNotExecutable, message, remedy).on(&entry.path));
        }
        let script = self.read_script()?;
        if let Some(problem) = script.shebang_problem() {
            let remedy = "begin with `#!/bin/sh`";
            self.found(Finding::new(Code::Shebang, problem, remedy).on(&entry.path));
        }
        self.check_line_endings(entry, &script, Code::LineEndings);
        Ok(())
    }

    fn check_script(&mut self, entry: &Entry) -> Result<(), Broken> {
        let script = self.read_script()?;
        if script.is_script() {
            self.check_line_endings(entry, &script, Code::ScriptLineEndings);
        }
        Ok(())
    }

    fn check_line_endings(&mut self, entry: &Entry, script: &Script, code: Code) {
        let message = match script.wrong_line_ending() {
            None => return,
            Some(Return::Alone) => "ends its lines with carriage returns (old Macintosh)".into(),
            Some(Return::BeforeNewline(line)) => {
                format!("line {line} ends with a carriage return and a newline (Windows)")
            }
        };
        let remedy = "convert it to Unix line endings (dos2unix, or sed -i 's/\\r$//')";
        self.found(Finding::new(code, message, remedy).on(&entry.path));
    }

    fn read_script(&mut self) -> Result<Script, Broken> {
        let mut script = Script::default();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.tarball.read(&mut buffer)? {
                0 => return Ok(script),
                count => script.pass(&buffer[..count]),
            }
        }
    }

    fn check_manifest(&mut self, entry: &Entry) -> Result<(), Broken> {
        let invalid = |message: String| {
            Finding::new(Code::ManifestInvalid, message, "docs/payload.md has its keys").on(&entry.path)
        };
        if entry.kind != Kind::File {
            self.found(invalid("is no regular file".into()));
            return Ok(());
        }
        if entry.size_bytes > MANIFEST_LIMIT_BYTES {
            self.found(invalid(format!("has more than {MANIFEST_LIMIT_BYTES} bytes")));
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut buffer = [0; 4 << 10];
        loop {
            match self.tarball.read(&mut buffer)? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        let (manifest, findings) = Manifest::parse(&bytes);
        self.manifest = manifest;
        findings.into_iter().for_each(|finding| self.found(finding));
        Ok(())
    }

    fn found(&mut self, finding: Finding) {
        self.verdict = self.verdict.max(match finding.severity {
            Severity::Error => Verdict::Errors,
            Severity::Warning => Verdict::Warnings,
        });
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }

    fn report(self, complete: bool) -> Report {
        let gunzip = self.tarball.gunzip();
        Report {
            verdict: self.verdict,
            complete,
            packed_bytes: gunzip.packed_bytes(),
            unpacked_bytes: gunzip.unpacked_bytes(),
            sha256: gunzip.sha256().filter(|_| complete),
            entries: self.entries,
            manifest: self.manifest,
            findings: self.findings,
            findings_left_out: self.findings_left_out,
        }
    }
}
