//! From a directory to an archive that is the same wherever and whenever it is made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::finding::{Finding, Severity};
use crate::gunzip::Limits;
use crate::lint::{Report, lint_file};
use crate::manifest::{MANIFEST, MANIFEST_LIMIT_BYTES, Manifest, is_name};
use crate::{ENTRY_POINT, ReadError};

/// When everything in an archive was changed last: the start of 1980 (UTC). Some unpackers complain about 1970, and a
/// machine whose clock is behind complains about the present.
const CHANGED_S: u64 = 315_532_800;
/// No system: the header of a gzip file would otherwise name one.
const NO_SYSTEM: u8 = 255;

/// A payload that was packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// The file.
    pub file: PathBuf,
    /// What lint says of it; no errors.
    pub report: Report,
}

/// Why a directory was not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file changed while it was read.
    #[error("{} changed while it was packed; pack again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Something could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory has something in it that an archive cannot hold.
    #[error("{} is no file, directory or symbolic link; remove it, or make it in {ENTRY_POINT}", path.display())]
    Kind {
        /// What it is about.
        path: PathBuf,
    },
    /// The archive would be part of itself.
    #[error("cannot write {} into the directory that is packed; name another file with -o", file.display())]
    OutputInside {
        /// The archive.
        file: PathBuf,
    },
    /// The archive could not be read again.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The payload is none. Nothing was written.
    #[error("cannot pack {}: {}", directory.display(), first_error(report))]
    Refused {
        /// The directory.
        directory: PathBuf,
        /// What lint says of it.
        report: Box<Report>,
    },
}

fn first_error(report: &Report) -> String {
    match report.errors().collect::<Vec<&Finding>>().as_slice() {
        [] => "it is no payload".into(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// Packs a directory: `payload.sh` is at its root, and all of it is in the archive.
///
/// The bytes of the archive depend on names, contents, the owner's permission to execute and the targets of links;
/// not on owners, times, umask, hard links or the order of the file system. An archive with errors is not kept, and a
/// file that was there before is replaced only by one that is whole.
pub fn pack(directory: &Path, output: &Path) -> Result<Packed, PackError> {
    refuse_inside(directory, output)?;
    let partial = Partial::create(output)?;
    write_archive(directory, &partial)?;
    let report =
        lint_file(&partial.path, &Limits { unpacked_bytes: u64::MAX, ratio: u64::MAX, ..Limits::default() })?;
    if report.findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(PackError::Refused { directory: directory.into(), report: Box::new(report) });
    }
    partial.keep(output)?;
    Ok(Packed { file: output.into(), report })
}

/// How the archive of a directory is called: `NAME-VERSION.tgz` as its manifest has them, the directory's name where
/// that does not say.
pub fn default_file_name(directory: &Path) -> Result<String, PackError> {
    let path = directory.join(MANIFEST);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MANIFEST_LIMIT_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(PackError::Io { action: "read", path, source }),
    }
    // A manifest that is none is told when the archive is linted.
    let manifest = Manifest::parse(&bytes).0.unwrap_or_default();
    let own_name = || {
        let full = fs::canonicalize(directory).ok()?;
        let name = full.file_name()?.to_str()?.to_owned();
        is_name(&name, "").then_some(name)
    };
    let name = manifest.name.or_else(own_name).unwrap_or_else(|| "payload".into());
    Ok(match manifest.version {
        Some(version) => format!("{name}-{version}.tgz"),
        None => format!("{name}.tgz"),
    })
}

fn refuse_inside(directory: &Path, output: &Path) -> Result<(), PackError> {
    let whole = |path: &Path| {
        let told = |source| PackError::Io { action: "find", path: path.into(), source };
        fs::canonicalize(path).map_err(told)
    };
    let beside = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if whole(beside)?.starts_with(whole(directory)?) {
        return Err(PackError::OutputInside { file: output.into() });
    }
    Ok(())
}

fn write_archive(directory: &Path, partial: &Partial) -> Result<(), PackError> {
    let writing = |source| PackError::Io { action: "write", path: partial.path.clone(), source };
    let gzip = GzBuilder::new().mtime(0).operating_system(NO_SYSTEM);
    let gzip = gzip.write(BufWriter::new(&partial.file), Compression::default());
    let mut tar = Builder::new(gzip);
    append_directory(&mut tar, directory, Path::new(""), &writing)?;
    let gzip = tar.into_inner().map_err(writing)?;
    let mut file = gzip.finish().map_err(writing)?;
    file.flush().map_err(writing)
}

type Tar<'a> = Builder<GzEncoder<BufWriter<&'a File>>>;

/// All that is in a directory, by the bytes of its names; each directory before what is in it.
fn append_directory(
    tar: &mut Tar<'_>,
    directory: &Path,
    below: &Path,
    writing: &dyn Fn(io::Error) -> PackError,
) -> Result<(), PackError> {
    let path = directory.join(below);
    let reading = |source| PackError::Io { action: "read", path: path.clone(), source };
    let entries: io::Result<Vec<_>> =
        fs::read_dir(&path).map_err(reading)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = entries.map_err(reading)?;
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    for name in names {
        let below = below.join(name);
        let path = directory.join(&below);
        let reading = |source| PackError::Io { action: "read", path: path.clone(), source };
        let metadata = fs::symlink_metadata(&path).map_err(reading)?;
        let mode = metadata.permissions().mode();
        if metadata.is_dir() {
            let mut header = header(EntryType::Directory, 0o755, 0);
            // With a slash at its end, as every tar writes it.
            tar.append_data(&mut header, below.join(""), io::empty()).map_err(writing)?;
            append_directory(tar, directory, &below, writing)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(reading)?;
            let mut header = header(EntryType::Symlink, 0o777, 0);
            tar.append_link(&mut header, &below, target).map_err(writing)?;
        } else if metadata.is_file() {
            let file = File::open(&path).map_err(reading)?;
            // What runs with another user's rights is for lint to refuse, not to be dropped in silence.
            let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 } | (mode & 0o6000);
            let mut header = header(EntryType::Regular, mode, metadata.len());
            let mut contents = Exactly { file, left_bytes: metadata.len(), changed: false };
            let appended = tar.append_data(&mut header, &below, &mut contents);
            if contents.has_changed().map_err(reading)? {
                return Err(PackError::Changed { path });
            }
            appended.map_err(writing)?;
        } else {
            return Err(PackError::Kind { path });
        }
    }
    Ok(())
}

fn header(kind: EntryType, mode: u32, size_bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size_bytes);
    header.set_mtime(CHANGED_S);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A file of the size that its header says, or an error.
struct Exactly {
    file: File,
    left_bytes: u64,
    changed: bool,
}

impl Exactly {
    /// Whether there was less in the file than its header says, or is more.
    fn has_changed(&mut self) -> io::Result<bool> {
        Ok(self.changed || (self.left_bytes == 0 && self.file.read(&mut [0])? > 0))
    }
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..most])?;
        self.left_bytes -= count as u64;
        if count == 0 {
            self.changed = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

/// The archive while it is written; removed unless it is kept.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn create(output: &Path) -> Result<Self, PackError> {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let path = output.with_file_name(name);
        let mut options = OpenOptions::new();
        match options.write(true).create(true).truncate(true).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(PackError::Io { action: "write", path, source }),
        }
    }

    fn keep(self, output: &Path) -> Result<(), PackError> {
        fs::rename(&self.path, output).map_err(|source| PackError::Io {
            action: "write",
            path: output.into(),
            source,
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // When it was kept there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}
