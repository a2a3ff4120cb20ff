//! One image in a store: `images/ID/` with `kernel`, `initramfs`, `manifest.json` and `verified.json`.
//!
//! `verified.json` tells what the files looked like when their contents were last checked, so that hashing them is
//! only needed again after something touched them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Verify;
use super::files::replace;
use super::lock::Lock;
use super::manifest::{FORMAT_VERSION, Manifest};
use crate::digest::sha256_file;
use crate::error::IoContext;
use crate::fingerprint::Fingerprint;
use crate::{Arch, ImageError, KernelFormat};

pub(super) const KERNEL: &str = "kernel";
pub(super) const INITRAMFS: &str = "initramfs";
/// The root file system of an image that has one.
pub(super) const ROOT: &str = "root.qcow2";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const VERIFIED: &str = "verified.json";

/// An image that can be started. While it or a clone of it lives, the image cannot be removed from its store.
#[derive(Debug, Clone)]
pub struct Image {
    /// SHA-256 in hexadecimal, of what it was made of and of its files.
    pub id: String,
    /// Name of the recipe, such as `tiny`.
    pub name: String,
    /// Instruction set of the guest.
    pub arch: Arch,
    /// The kernel file.
    pub kernel: PathBuf,
    /// What the kernel file is.
    pub kernel_format: KernelFormat,
    /// SHA-256 of the kernel file, in hexadecimal.
    pub kernel_sha256: String,
    /// Release of the kernel (`uname -r` in the guest).
    pub kernel_release: String,
    /// Whether the kernel has the PVH entry.
    pub pvh: bool,
    /// The initramfs file: cpio `newc`, not compressed.
    pub initramfs: PathBuf,
    /// SHA-256 of the initramfs file, in hexadecimal.
    pub initramfs_sha256: String,
    /// The root file system, where it has one beside the initramfs.
    pub root: Option<RootFile>,
    /// Everything on record.
    pub manifest: Manifest,
    pub(super) dir: PathBuf,
    _in_use: Arc<Lock>,
}

/// The disk image with an image's root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFile {
    /// The file: qcow2 with an ext4 file system.
    pub file: PathBuf,
    /// Size of the disk, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// The directory of one image, which may be damaged.
pub(super) struct Entry<'a> {
    id: &'a str,
    dir: PathBuf,
}

impl<'a> Entry<'a> {
    pub(super) fn new(images: &Path, id: &'a str) -> Self {
        let dir = images.join(id);
        Self { id, dir }
    }

    /// Checks the image and holds it; `None` when there is none.
    pub(super) fn open(&self, verify: Verify) -> Result<Option<Image>, ImageError> {
        let Some(in_use) = self.hold()? else {
            return Ok(None);
        };
        let manifest = self.check(verify)?;
        let sha256 = |name: &str| {
            let file = manifest.file(name);
            file.map(|file| file.sha256.clone())
                .ok_or_else(|| self.damaged(MANIFEST, format!("it does not list {name}")))
        };
        let root = manifest
            .root_size_bytes
            .map(|size_bytes| Ok(RootFile { file: self.dir.join(ROOT), size_bytes, sha256: sha256(ROOT)? }));
        Ok(Some(Image {
            id: self.id.to_owned(),
            name: manifest.name.clone(),
            arch: manifest.arch,
            kernel: self.dir.join(KERNEL),
            kernel_format: manifest.kernel_format,
            kernel_sha256: sha256(KERNEL)?,
            kernel_release: manifest.kernel_release.clone(),
            pvh: manifest.pvh,
            initramfs: self.dir.join(INITRAMFS),
            initramfs_sha256: sha256(INITRAMFS)?,
            root: root.transpose()?,
            manifest,
            dir: self.dir.clone(),
            _in_use: Arc::new(in_use),
        }))
    }

    /// Reads the manifest and checks it and the files against it.
    pub(super) fn check(&self, verify: Verify) -> Result<Manifest, ImageError> {
        let manifest = self.manifest()?;
        let verified = self.verified();
        let mut seen = Vec::new();
        let mut changed = false;
        for file in &manifest.files {
            let now = Fingerprint::of(&self.dir, Path::new(&file.name))
                .map_err(|error| self.damaged(&file.name, error.to_string()))?;
            let path = self.dir.join(&file.name);
            let size_bytes = fs::metadata(&path).on("look at", &path)?.len();
            if size_bytes != file.size_bytes {
                let reason = format!("it has {size_bytes} bytes instead of {}", file.size_bytes);
                return Err(self.damaged(&file.name, reason));
            }
            let known = verify == Verify::Quick && verified.contains(&now);
            if !known && sha256_file(&path)? != file.sha256 {
                return Err(self.damaged(&file.name, "its contents changed".to_owned()));
            }
            changed |= !known;
            seen.push(now);
        }
        if changed && seen != verified {
            // A store that cannot be written to works too, only slower.
            let _ = replace(&self.dir.join(VERIFIED), &verified_json(&seen));
        }
        Ok(manifest)
    }

    /// Marks the image as in use; `None` when there is none.
    fn hold(&self) -> Result<Option<Lock>, ImageError> {
        let path = self.dir.join(MANIFEST);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if self.dir.is_dir() {
                    Err(self.damaged(MANIFEST, error.to_string()))
                } else {
                    Ok(None)
                };
            }
            Err(error) => return Err(error).on("open", &path),
        };
        let inode = file.metadata().on("look at", &path)?.ino();
        let Some(lock) = Lock::shared(file, &path)? else {
            return Ok(None);
        };
        // It may have been removed between opening and locking it.
        let still_there = fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == inode);
        Ok(still_there.then_some(lock))
    }

    pub(super) fn manifest(&self) -> Result<Manifest, ImageError> {
        let path = self.dir.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|error| self.damaged(MANIFEST, error.to_string()))?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(MANIFEST, error.to_string()))?;
        if manifest.format_version != FORMAT_VERSION {
            let reason = format!(
                "it has format version {}, this program knows {FORMAT_VERSION}",
                manifest.format_version
            );
            return Err(self.damaged(MANIFEST, reason));
        }
        if manifest.id() != self.id {
            return Err(self.damaged(MANIFEST, "its contents changed".to_owned()));
        }
        Ok(manifest)
    }

    fn verified(&self) -> Vec<Fingerprint> {
        fs::read(self.dir.join(VERIFIED))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn damaged(&self, file: &str, reason: String) -> ImageError {
        ImageError::Damaged { id: self.id.to_owned(), path: self.dir.join(file), reason }
    }
}

/// Contents of `verified.json`.
pub(super) fn verified_json(seen: &[Fingerprint]) -> Vec<u8> {
    serde_json::to_vec(seen).expect("paths here are the UTF-8 names of a manifest")
}
