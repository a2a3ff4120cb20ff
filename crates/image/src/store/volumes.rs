//! Disk images with ext4 file systems, made by `mke2fs -d`: no mount, no loop device.
//!
//! ```text
//! volumes/ID/           disk.ext4, volume.json
//! volumes/.tmp-*        a build that is running, or died
//! ```
//!
//! The id is the hash of what the file system is made of: a recipe and a kernel's contents for a root, names, modes and
//! contents of files for a share. An entry appears whole, by one rename. One that nobody has attached any more goes when
//! another of its kind is there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Store;
use super::files::{self, TemporaryDir, write_synced};
use super::lock::Lock;
use crate::debian;
use crate::digest::{sha256, sha256_file};
use crate::error::IoContext;
use crate::ext4::{self, Kind};
use crate::sources::Sources;
use crate::tools::run;
use crate::{ImageError, RootRecipe, SharedFile, TinyRecipe, Volume};

/// Raised when the same recipe gives another file system.
const FORMAT: u32 = 1;

const DISK: &str = "disk.ext4";
const RECORD: &str = "volume.json";

/// Room for what programs write, inodes and the journal, beside the files themselves.
const SPARE_BYTES: u64 = 64 << 20;

/// What is known about a volume.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    kind: String,
    size_bytes: u64,
    made_of: String,
}

impl Store {
    /// The root file system of `recipe`, made by `mmdebstrap` if it is not there. Earlier ones of its name that nobody
    /// uses are removed.
    ///
    /// Errors: a tool is missing or failed, or the store cannot be written.
    pub fn ensure_root(
        &self,
        recipe: &RootRecipe,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Volume, ImageError> {
        let tiny = TinyRecipe { kernel: recipe.kernel.clone(), ..TinyRecipe::new(Vec::new()) };
        let sources = Sources::find(&tiny, &self.kernels_dir())?;
        let release = sources.modules.as_deref().and_then(Path::file_name).unwrap_or_default();
        let made_of = format!(
            "root {FORMAT}\nmmdebstrap {}\ndirectories {}\nkernel {} {}\nmodules {}\n",
            debian::arguments(&recipe.suite, &recipe.packages).join(" "),
            recipe.directories.join(" "),
            sources.kernel.file_name().unwrap_or_default().display(),
            sha256_file(&sources.kernel)?,
            release.display(),
        );
        let kind = format!("root {}", recipe.name);
        let volume = self.ensure_volume(&kind, &made_of, progress, |work, progress| {
            progress(&format!(
                "making the root file system {} with mmdebstrap: half a minute to some minutes, once",
                recipe.name
            ));
            let tree = debian::unpack(&recipe.suite, &recipe.packages, None, None, work)?;
            install_kernel(&sources, &tree)?;
            for directory in &recipe.directories {
                let path = tree.join(directory.trim_start_matches('/'));
                fs::create_dir_all(&path).on("create", &path)?;
            }
            Ok(tree)
        })?;
        self.remove_old_volumes(&kind, &volume.id)?;
        Ok(volume)
    }

    /// A disk with these files, made again when one of them has changed. Earlier ones that nobody uses are removed.
    ///
    /// Errors: a file cannot be read, `mke2fs` is missing or failed, or the store cannot be written.
    pub fn ensure_share(
        &self,
        shared: &[SharedFile],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Volume, ImageError> {
        let mut made_of = format!("share {FORMAT}\n");
        let mut digests = Vec::with_capacity(shared.len());
        for file in shared {
            let mode = fs::metadata(&file.source).on("look at", &file.source)?.mode() & 0o777;
            let digest = sha256_file(&file.source)?;
            made_of.push_str(&format!("{digest} {mode:o} {}\n", file.path));
            digests.push(digest);
        }
        let volume = self.ensure_volume("share", &made_of, progress, |work, _| {
            let tree = work.join("tree");
            fs::create_dir(&tree).on("create", &tree)?;
            for (file, digest) in shared.iter().zip(&digests) {
                let target = tree.join(&file.path);
                let parent = target.parent().unwrap_or(&tree);
                fs::create_dir_all(parent).on("create", parent)?;
                fs::copy(&file.source, &target).on("copy", &file.source)?;
                if sha256_file(&target)? != *digest {
                    let changed = io::Error::other("it changes while it is copied");
                    return Err(changed).on("copy", &file.source);
                }
            }
            Ok(tree)
        })?;
        self.remove_old_volumes("share", &volume.id)?;
        Ok(volume)
    }

    /// The volume that is made of `made_of`; where there is none, `fill` makes the tree of its files in a directory.
    fn ensure_volume(
        &self,
        kind: &str,
        made_of: &str,
        progress: &mut dyn FnMut(&str),
        fill: impl FnOnce(&Path, &mut dyn FnMut(&str)) -> Result<PathBuf, ImageError>,
    ) -> Result<Volume, ImageError> {
        let id = sha256(made_of.as_bytes());
        if let Some(volume) = self.open_volume(&id)? {
            return Ok(volume);
        }
        let volumes = self.volumes();
        fs::create_dir_all(&volumes).on("create", &volumes)?;
        let _lock = Lock::store(&self.lock_path(), || {
            progress("another process is building an image: waiting for it");
        })?;
        if let Some(volume) = self.open_volume(&id)? {
            return Ok(volume);
        }
        // Only the holder of the lock makes any.
        files::remove_leftovers(&volumes)?;
        let target = volumes.join(&id);
        if target.exists() {
            progress("a disk image is not as it was made: making it again");
            files::remove_dir(&target)?;
        }
        let work = TemporaryDir::new(&volumes)?;
        let tree = fill(work.path(), progress)?;
        let disk = work.path().join(DISK);
        ext4::make(&tree, &disk, &Kind { spare_bytes: SPARE_BYTES, owners: None, fixed: None })?;
        fs::remove_dir_all(&tree).on("remove", &tree)?;
        let size_bytes = fs::metadata(&disk).on("look at", &disk)?.len();
        let record = Record { format: FORMAT, kind: kind.into(), size_bytes, made_of: made_of.into() };
        let json = serde_json::to_vec_pretty(&record).expect("strings and numbers are JSON");
        write_synced(&work.path().join(RECORD), &json)?;
        work.put_in_place(&target)?;
        self.open_volume(&id)?.ok_or_else(|| self.not_found(&id))
    }

    /// The volume with this id, if it is there and whole.
    fn open_volume(&self, id: &str) -> Result<Option<Volume>, ImageError> {
        let directory = self.volumes().join(id);
        let record = directory.join(RECORD);
        let Ok(held) = File::open(&record) else { return Ok(None) };
        flock(&held, FlockOperation::LockShared).on("lock", &record)?;
        let Some(Record { size_bytes, .. }) = read_record(&directory) else { return Ok(None) };
        let file = directory.join(DISK);
        let whole = fs::metadata(&file).is_ok_and(|metadata| metadata.len() == size_bytes);
        Ok(whole.then(|| Volume { id: id.into(), file, size_bytes, _in_use: Arc::new(held) }))
    }

    /// Removes what is of this kind, is not `current` and is attached nowhere.
    fn remove_old_volumes(&self, kind: &str, current: &str) -> Result<(), ImageError> {
        let volumes = self.volumes();
        // Whoever has the lock removes them, or the next one.
        let Some(_lock) = Lock::try_store(&self.lock_path())? else { return Ok(()) };
        for entry in fs::read_dir(&volumes).on("list", &volumes)?.filter_map(Result::ok) {
            let path = entry.path();
            let of_kind = read_record(&path).is_some_and(|record| record.kind == kind);
            if !of_kind || entry.file_name() == *current {
                continue;
            }
            let record = path.join(RECORD);
            let held = File::open(&record).on("open", &record)?;
            if flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok() {
                files::remove_dir(&path)?;
            }
        }
        Ok(())
    }

    fn volumes(&self) -> PathBuf {
        self.dir().join("volumes")
    }
}

fn read_record(directory: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()?;
    (record.format == FORMAT).then_some(record)
}

/// Puts the kernel's file and modules where its package would put them.
fn install_kernel(sources: &Sources, tree: &Path) -> Result<(), ImageError> {
    let boot = tree.join("boot");
    fs::create_dir_all(&boot).on("create", &boot)?;
    let name = sources.kernel.file_name().unwrap_or_default();
    fs::copy(&sources.kernel, boot.join(name)).on("copy", &sources.kernel)?;
    let Some(modules) = &sources.modules else { return Ok(()) };
    let release = modules.file_name().unwrap_or_default();
    let target = tree.join("usr/lib/modules");
    fs::create_dir_all(&target).on("create", &target)?;
    run(Command::new("cp").arg("--recursive").arg(modules).arg(&target), "cp")?;
    run(Command::new("depmod").arg("--basedir").arg(tree.join("usr")).arg(release), "depmod")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_mke2fs() -> bool {
        let found = run(Command::new("mke2fs").arg("-V"), "mke2fs");
        if let Err(error) = &found {
            eprintln!("skipped: {error}");
        }
        found.is_ok()
    }

    #[test]
    fn a_share_is_made_of_contents_and_made_again_when_they_change() {
        if !has_mke2fs() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path().join("store")).unwrap();
        let source = place.path().join("program");
        let shared = [SharedFile { source: source.clone(), path: "bin/program".into() }];
        let share = || store.ensure_share(&shared, &mut |_| {}).unwrap();
        let inode = |volume: &Volume| fs::metadata(&volume.file).unwrap().ino();
        fs::write(&source, "one").unwrap();
        let first = share();
        let made = inode(&first);
        // The same bytes, built again.
        fs::remove_file(&source).unwrap();
        fs::write(&source, "one").unwrap();
        let same = share();
        assert_eq!((&same.id, inode(&same)), (&first.id, made));
        // Other bytes of the same size and time.
        let time = fs::metadata(&source).unwrap().modified().unwrap();
        fs::write(&source, "two").unwrap();
        File::options().write(true).open(&source).unwrap().set_modified(time).unwrap();
        let second = share();
        assert_ne!(second.id, first.id);
        // One that is attached stays, and goes with the next that is made when nobody has it any more.
        assert!(first.file.exists());
        drop((first, same));
        fs::write(&source, "three").unwrap();
        let third = share();
        assert_eq!(fs::read_dir(store.volumes()).unwrap().count(), 2);
        drop(second);
        share();
        assert!(third.file.exists());
        assert_eq!(fs::read_dir(store.volumes()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path().join("store")).unwrap();
        let shared = [SharedFile { source: "/nonexistent/program".into(), path: "a".into() }];
        let error = store.ensure_share(&shared, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/program"), "{error}");
    }
}
