//! Unpacking below a root, whatever is in the archive and whatever is there already.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, linkat, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::ReadError;
use crate::finding::{Code, Finding};
use crate::gunzip::{Broken, Gunzip, Limits};
use crate::lint::{Place, place};
use crate::tarball::{Entry, Kind, Tarball};

/// What happens to files with an absolute path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideRoot {
    /// They are written where they say, as the specification allows.
    Allow,
    /// Nothing is unpacked from there on, and an error says why.
    Refuse,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of all kinds.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why a payload was not unpacked, or not to its end. What was unpacked stays, as the specification has it.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The payload's fault.
    #[error("cannot unpack the payload: {0}")]
    Payload(Finding),
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something could not be written.
    #[error("cannot unpack {} below {}", path.display(), root.display())]
    Write {
        /// The entry's path.
        path: PathBuf,
        /// The root.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Unpacks a payload file below a root, which is made where there is none.
pub fn unpack_file(
    file: &Path,
    root: &Path,
    limits: &Limits,
    outside: OutsideRoot,
) -> Result<Unpacked, UnpackError> {
    let input = File::open(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })?;
    let unpacked = unpack(BufReader::with_capacity(64 << 10, input), root, limits, outside);
    unpacked.map_err(|error| match error {
        UnpackError::Read(ReadError::Io { source, .. }) => {
            ReadError::Io { file: file.to_owned(), source }.into()
        }
        other => other,
    })
}

/// Unpacks a payload while it is read.
///
/// Nothing is written through a symbolic link, be it of the archive or there before. Files take the place of what has
/// their name, except directories. Owners are those of this process; times are not set, so that clocks do not matter;
/// no file gets set-user-ID or set-group-ID, and no directory is closed to its owner.
pub fn unpack(
    input: impl BufRead,
    root: &Path,
    limits: &Limits,
    outside: OutsideRoot,
) -> Result<Unpacked, UnpackError> {
    let target = Target::open(root, outside)?;
    let mut tarball = Tarball::new(Gunzip::new(input, limits));
    let mut unpacked = Unpacked::default();
    while let Some(entry) = tarball.next().map_err(broken)? {
        unpacked.entries += 1;
        unpacked.bytes += entry.size_bytes;
        if unpacked.entries > limits.entries {
            let message = format!("has more than {} entries", limits.entries);
            return Err(UnpackError::Payload(Finding::new(Code::TooManyEntries, message, "raise the limit")));
        }
        target.unpack(&entry, &mut tarball)?;
    }
    Ok(unpacked)
}

fn broken(broken: Broken) -> UnpackError {
    match broken {
        Broken::Finding(finding) => UnpackError::Payload(finding),
        Broken::Io(source) => ReadError::Io { file: "the payload".into(), source }.into(),
    }
}

struct Target<'a> {
    root: &'a Path,
    directory: OwnedFd,
    outside: OutsideRoot,
}

/// What was refused, or could not be written.
enum Problem {
    Payload(Broken),
    System(io::Error),
}

impl From<Errno> for Problem {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Broken> for Problem {
    fn from(broken: Broken) -> Self {
        Self::Payload(broken)
    }
}

impl From<Finding> for Problem {
    fn from(finding: Finding) -> Self {
        Self::Payload(finding.into())
    }
}

impl<'a> Target<'a> {
    fn open(root: &'a Path, outside: OutsideRoot) -> Result<Self, UnpackError> {
        let opened = fs::create_dir_all(root).and_then(|()| Ok(open_directory(CWD, root, OFlags::empty())?));
        match opened {
            Ok(directory) => Ok(Self { root, directory, outside }),
            Err(source) => Err(UnpackError::Write { path: ".".into(), root: root.into(), source }),
        }
    }

    fn unpack(&self, entry: &Entry, tarball: &mut Tarball<impl BufRead>) -> Result<(), UnpackError> {
        self.write(entry, tarball).map_err(|problem| match problem {
            Problem::Payload(payload) => broken(payload),
            Problem::System(source) => self.write_error(&entry.path, source),
        })
    }

    fn write_error(&self, path: &[u8], source: io::Error) -> UnpackError {
        let path = String::from_utf8_lossy(path).into_owned();
        UnpackError::Write { path: path.into(), root: self.root.into(), source }
    }

    fn write(&self, entry: &Entry, tarball: &mut Tarball<impl BufRead>) -> Result<(), Problem> {
        let refuse = |code, message: &str| {
            let finding =
                Finding::new(code, message, "`virtmark payload lint` tells everything that is wrong");
            Err(finding.on(&entry.path).into())
        };
        let place = place(&entry.path);
        if place.has_parent {
            return refuse(Code::ParentPath, "has `..` in its path");
        }
        if place.absolute && self.outside == OutsideRoot::Refuse {
            return refuse(Code::OutsideRoot, "lies outside of the root, which was not allowed");
        }
        let Some((name, above)) = place.parts.split_last() else {
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => refuse(Code::PathConflict, "is the root itself, and no directory"),
            };
        };
        match entry.kind {
            Kind::Directory => return self.make_directory(&place, entry.mode),
            Kind::File | Kind::HardLink | Kind::Symlink => {}
            Kind::Unsupported(_) => {
                return refuse(Code::UnsupportedEntry, "is of a type that is not supported");
            }
            _ => return refuse(Code::SpecialFile, "is a device or a named pipe"),
        }
        let directory = self.descend(place.absolute, above)?;
        // First, so that a link to itself finds nothing.
        match unlinkat(&directory, *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match entry.kind {
            Kind::Symlink => symlinkat(entry.target.as_slice(), &directory, *name)?,
            Kind::HardLink => {
                let target = link_target(&entry.target).ok_or_else(|| {
                    Finding::new(Code::HardLink, "is a hard link out of the root", "pack the file itself")
                        .on(&entry.path)
                })?;
                let (target_name, target_above) = target;
                let from = self.descend(false, &target_above)?;
                linkat(&from, target_name, &directory, *name, AtFlags::empty())?;
            }
            _ => write_file(&directory, name, entry.mode, tarball)?,
        }
        Ok(())
    }

    fn make_directory(&self, place: &Place<'_>, mode: u32) -> Result<(), Problem> {
        let directory = self.descend(place.absolute, &place.parts)?;
        Ok(fchmod(&directory, Mode::from_raw_mode(mode & 0o1777) | Mode::RWXU)?)
    }

    /// The directory at the end of these names, each made where there is none. Outside of the root links are followed:
    /// there they are the system's (`/bin`).
    fn descend(&self, absolute: bool, names: &[&[u8]]) -> Result<OwnedFd, Problem> {
        let mut directory =
            if absolute { open_directory(CWD, "/", OFlags::empty())? } else { self.directory.try_clone()? };
        let flags = if absolute { OFlags::empty() } else { OFlags::NOFOLLOW };
        for name in names {
            let opened = match open_directory(&directory, *name, flags) {
                Err(Errno::NOENT) => {
                    match mkdirat(&directory, *name, Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    open_directory(&directory, *name, flags)
                }
                opened => opened,
            };
            directory = opened?;
        }
        Ok(directory)
    }
}

/// Name and directories of a hard link's target, when it is below the root.
fn link_target(target: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let target = place(target);
    let (name, above) = target.parts.split_last()?;
    (!target.absolute && !target.has_parent).then(|| (*name, above.to_vec()))
}

fn open_directory(
    at: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | flags, Mode::empty())
}

fn write_file(
    directory: &OwnedFd,
    name: &[u8],
    mode: u32,
    tarball: &mut Tarball<impl BufRead>,
) -> Result<(), Problem> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match tarball.read(&mut buffer)? {
            0 => break,
            count => file.write_all(&buffer[..count])?,
        }
    }
    fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
    Ok(())
}
