//! A snapshot that is being made.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use virtmark_hypervisor::{Error, Result, Snapshot, allocated_bytes};

use super::{Content, FORMAT, Files, KeptDisk, KeptLayer, Manifest, Shape};
use crate::disks::MachineDisk;
use crate::{sparse, verified};

/// What the name of a directory starts with in which a snapshot is made.
const PARTIAL: &str = ".partial-";

/// Tells the drafts of one process apart.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// A snapshot that is being made. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Draft {
    directory: PathBuf,
    target: PathBuf,
    files: Files,
    finished: bool,
    /// The directory, locked for as long as somebody works on it.
    _lock: File,
}

impl Draft {
    /// Begins a snapshot that will be in the directory `target`, which must not exist.
    pub(crate) fn begin(target: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("create the snapshot directory {}", target.display()))(error);
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        if target.symlink_metadata().is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let partial = format!("{PARTIAL}{}-{}-{number}", name.to_string_lossy(), std::process::id());
        let directory = target.with_file_name(partial);
        let lock = make_locked(&directory).map_err(failed)?;
        let files = Files::in_directory(&directory);
        Ok(Self { directory, target: target.to_path_buf(), files, finished: false, _lock: lock })
    }

    /// Makes the file for the devices' state.
    pub(crate) fn device_state(&self) -> Result<File> {
        create(&self.files.device_state())
    }

    /// Makes a file for a state that holds memory too. It has no name, and goes with its descriptor.
    pub(crate) fn stream(&self) -> Result<File> {
        let path = self.directory.join("stream");
        let made = File::options().read(true).write(true).create_new(true).open(&path);
        let made = made.and_then(|file| fs::remove_file(&path).map(|()| file));
        made.map_err(Error::io(format!("create {}", path.display())))
    }

    /// Makes the file for guest memory.
    pub(crate) fn memory(&self) -> Result<File> {
        create(&self.files.memory())
    }

    /// An error that is about this snapshot: a full disk is said to be the snapshot's.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match &error {
            Error::Io { source, .. }
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                let path = self.target.clone();
                Error::DiskFull { path, remedy: "another directory for snapshots" }
            }
            _ => error,
        }
    }

    /// Adds the layers of the disks and brings everything to the disk; from then on the snapshot is there. `memory` is
    /// the checksum of guest memory.
    pub(crate) fn finish(mut self, shape: Shape, memory: u32, disks: &mut [MachineDisk]) -> Result<Snapshot> {
        let memory = Content { bytes: shape.memory_bytes, crc32c: memory };
        let finished = self.manifest(shape, memory, disks);
        let snapshot = finished.and_then(|manifest| self.publish(&manifest));
        let failed = Error::io(format!("write the snapshot {}", self.target.display()));
        snapshot.map_err(|error| self.explain(failed(error)))
    }

    fn manifest(&self, shape: Shape, memory: Content, disks: &mut [MachineDisk]) -> io::Result<Manifest> {
        let disks = disks.iter_mut().map(|disk| self.keep(disk)).collect::<io::Result<_>>()?;
        let state = File::open(self.files.device_state())?;
        let bytes = state.metadata()?.len();
        let device_state = Content { bytes, crc32c: sparse::checksum(&state, bytes)? };
        Ok(Manifest { format: FORMAT, shape, memory, device_state, disks })
    }

    fn keep(&self, disk: &mut MachineDisk) -> io::Result<KeptDisk> {
        let MachineDisk { name, size_bytes, layers, .. } = disk;
        let layers = layers.iter_mut().enumerate().map(|(number, layer)| {
            let crc32c = layer.keep(&self.files.layer(name, number, layer.format))?;
            let content = Content { bytes: layer.file.metadata()?.len(), crc32c };
            Ok(KeptLayer { format: layer.format, content })
        });
        let layers = layers.collect::<io::Result<_>>()?;
        Ok(KeptDisk { name: name.clone(), size_bytes: *size_bytes, layers })
    }

    /// Gives the directory its name when all that is in it would survive a loss of power.
    fn publish(&mut self, manifest: &Manifest) -> io::Result<Snapshot> {
        fs::write(self.files.manifest(), serde_json::to_vec_pretty(manifest)?)?;
        for entry in fs::read_dir(&self.directory)? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(&self.directory)?.sync_all()?;
        match renameat_with(CWD, &self.directory, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system without it; that no other directory is there was seen at the beginning.
            Err(Errno::INVAL | Errno::NOSYS) => fs::rename(&self.directory, &self.target)?,
            Err(error) => return Err(error.into()),
        }
        self.finished = true;
        File::open(parent_of(&self.target))?.sync_all()?;
        remember(&Files::in_directory(&self.target), manifest)?;
        let disk_bytes = allocated_bytes(&self.target)?;
        Ok(Snapshot { directory: self.target.clone(), disk_bytes })
    }
}

/// What was just written with its checksum needs not be read again.
fn remember(files: &Files, manifest: &Manifest) -> io::Result<()> {
    let mut contents = vec![(files.device_state(), manifest.device_state), (files.memory(), manifest.memory)];
    for disk in &manifest.disks {
        let layers = disk.layers.iter().enumerate();
        contents.extend(
            layers.map(|(number, layer)| (files.layer(&disk.name, number, layer.format), layer.content)),
        );
    }
    for (path, content) in contents {
        verified::remember(&path, &path.metadata()?, content.crc32c)?;
    }
    Ok(())
}

/// Makes a directory that is locked until the file is closed, however its process ends. Before that, removes what others
/// like it nobody holds any more. The lock on their parent keeps everybody from one that is made and not locked yet.
fn make_locked(directory: &Path) -> io::Result<File> {
    let parent = File::open(parent_of(directory))?;
    flock(&parent, FlockOperation::LockExclusive)?;
    remove_leftovers(parent_of(directory));
    fs::create_dir(directory)?;
    let lock = File::open(directory)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(lock)
}

/// What cannot be removed takes space and hinders nobody, and is found again the next time.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_directory || !entry.file_name().as_encoded_bytes().starts_with(PARTIAL.as_bytes()) {
            continue;
        }
        let Ok(directory) = File::open(entry.path()) else { continue };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The directory that a path is in.
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create(path: &Path) -> Result<File> {
    File::create_new(path).map_err(Error::io(format!("create {}", path.display())))
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // What was written is of no use; whoever looks finds that it has not the name of a snapshot.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
