//! Disk images with ext4 file systems, made by `mke2fs -d`: no mount, no loop device.
//!
//! ```text
//! volumes/ID/           disk.ext4, volume.json
//! volumes/.tmp-*        a build that is running, or died
//! ```
//!
//! The id is the hash of what the file system is made of: a recipe for a root, the names, sizes and times of files for
//! a share. An entry appears whole, by one rename. A share that nobody has attached any more goes when the next is made.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::Store;
use super::files::{self, TemporaryDir, write_synced};
use super::lock::Lock;
use crate::digest::sha256;
use crate::error::IoContext;
use crate::sources::Sources;
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
    /// The root file system of `recipe`, made by `mmdebstrap` if it is not there.
    ///
    /// Errors: a tool is missing or failed, or the store cannot be written.
    pub fn ensure_root(
        &self,
        recipe: &RootRecipe,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Volume, ImageError> {
        let tiny = TinyRecipe { kernel: recipe.kernel.clone(), ..TinyRecipe::new(Vec::new()) };
        let sources = Sources::find(&tiny, &self.kernels_dir())?;
        let mut made_of = format!("root {FORMAT}\n{recipe:?}\n{}\n", sources.kernel.display());
        describe(&sources.kernel, &mut made_of)?;
        let kind = format!("root {}", recipe.name);
        self.ensure_volume(&kind, &made_of, progress, |work, progress| {
            progress(&format!(
                "making the root file system {} with mmdebstrap: half a minute to some minutes, once",
                recipe.name
            ));
            let tree = debian(recipe, work)?;
            install_kernel(&sources, &tree)?;
            for directory in &recipe.directories {
                let path = tree.join(directory.trim_start_matches('/'));
                fs::create_dir_all(&path).on("create", &path)?;
            }
            Ok(tree)
        })
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
        for file in shared {
            made_of.push_str(&format!("{} {}", file.path, file.source.display()));
            describe(&file.source, &mut made_of)?;
        }
        let volume = self.ensure_volume("share", &made_of, progress, |work, _| {
            let tree = work.join("tree");
            fs::create_dir(&tree).on("create", &tree)?;
            for file in shared {
                let target = tree.join(&file.path);
                let parent = target.parent().unwrap_or(&tree);
                fs::create_dir_all(parent).on("create", parent)?;
                fs::copy(&file.source, &target).on("copy", &file.source)?;
            }
            Ok(tree)
        })?;
        self.remove_old_shares(&volume.id)?;
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
        make_ext4(&tree, &disk)?;
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

    fn remove_old_shares(&self, current: &str) -> Result<(), ImageError> {
        let volumes = self.volumes();
        // Whoever has the lock removes them, or the next one.
        let Some(_lock) = Lock::try_store(&self.lock_path())? else { return Ok(()) };
        for entry in fs::read_dir(&volumes).on("list", &volumes)?.filter_map(Result::ok) {
            let path = entry.path();
            let is_share = read_record(&path).is_some_and(|record| record.kind == "share");
            if !is_share || entry.file_name() == *current {
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

/// What tells that a file is still the one that was read.
fn describe(path: &Path, text: &mut String) -> Result<(), ImageError> {
    let metadata = fs::metadata(path).on("look at", path)?;
    text.push_str(&format!(
        " {} {} {} {:o}\n",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.mode() & 0o777
    ));
    Ok(())
}

/// Unpacks a minimal Debian. As an archive first, so that no privilege is needed: device files stay out of it.
fn debian(recipe: &RootRecipe, work: &Path) -> Result<PathBuf, ImageError> {
    let archive = work.join("root.tar");
    let mut include = String::from("--include=");
    include.push_str(&recipe.packages.join(","));
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=minbase", "--format=tar", &include]);
    for unread in ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"] {
        mmdebstrap.arg(format!("--dpkgopt=path-exclude={unread}"));
    }
    mmdebstrap.arg(&recipe.suite).arg(&archive);
    run(&mut mmdebstrap, "mmdebstrap")?;
    let tree = work.join("tree");
    fs::create_dir(&tree).on("create", &tree)?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--exclude=./dev/*", "--directory"]).arg(&tree);
    tar.arg("--file").arg(&archive);
    run(&mut tar, "tar")?;
    fs::remove_file(&archive).on("remove", &archive)?;
    Ok(tree)
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

/// Makes a file with an ext4 file system that has the files of `tree`.
fn make_ext4(tree: &Path, disk: &Path) -> Result<(), ImageError> {
    let bytes = tree_bytes(tree).on("list", tree)?;
    let size = bytes + bytes / 8 + SPARE_BYTES;
    let blocks = size.div_ceil(4096);
    let mut mke2fs = Command::new("mke2fs");
    // Without a journal: a guest that cannot write needs none, and one of a killed machine would have to be replayed.
    mke2fs.args(["-q", "-t", "ext4", "-O", "^has_journal", "-b", "4096", "-E", "root_owner=0:0", "-d"]);
    mke2fs.arg(tree).arg(disk).arg(blocks.to_string());
    run(&mut mke2fs, "mke2fs")
}

/// What the files take in blocks of 4 KiB.
fn tree_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += metadata.len().next_multiple_of(4096);
        if metadata.is_dir() {
            bytes += tree_bytes(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// Runs a tool to its end.
fn run(command: &mut Command, tool: &'static str) -> Result<(), ImageError> {
    // Administrators' tools are not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().map_err(|source| ImageError::Tool {
        tool,
        reason: match source.kind() {
            io::ErrorKind::NotFound => "it is not installed (`make lab` installs it)".into(),
            _ => source.to_string(),
        },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    Err(ImageError::Tool { tool, reason: format!("it ended with {}: {said}", output.status) })
}
