//! Builds the image `bench`: the files of a tiny image, and a root file system that outlives changes of these.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Store;
use super::entry::{Entry, INITRAMFS, KERNEL, MANIFEST, ROOT, VERIFIED, verified_json};
use super::files::{TemporaryDir, replace, write_synced};
use super::index::Built;
use super::lock::Lock;
use super::manifest::{FileRecord, Input, Manifest, PackageRecord};
use super::{Verify, whole};
use crate::digest::{sha256, sha256_file};
use crate::error::IoContext;
use crate::fingerprint::Fingerprint;
use crate::{BenchRecipe, Image, ImageError, ext4, qcow2};

/// Name of the image.
const NAME: &str = "bench";

/// The part of the root file system in an image's record.
const ROOT_ROLE: &str = "root";

impl Store {
    /// The image `bench` of `recipe`, built if it is not there or damaged. Takes some milliseconds when it is, seconds
    /// when only its kernel or agent is another, and some minutes when its root file system has to be made.
    ///
    /// New versions of Debian's packages alone are no change: remove the image to take them.
    ///
    /// Errors: as [`Self::ensure_tiny`]; a tool is missing or failed, which may be for want of Debian's servers.
    pub fn ensure_bench(
        &self,
        recipe: &BenchRecipe,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Image, ImageError> {
        let tiny = self.ensure_tiny(&recipe.tiny, progress)?;
        let root_key = recipe.root_key();
        let key = sha256(format!("bench {} {root_key}", tiny.id).as_bytes());
        let name = format!("{NAME}-{}", recipe.tiny.arch);
        if let Some(image) = self.built_before(&key, progress)?
            && self.named(&name)?.as_deref() == Some(image.id.as_str())
        {
            return Ok(image);
        }
        let _lock = Lock::store(&self.lock_path(), || {
            progress("another process is building an image: waiting for it");
        })?;
        // Whoever had the lock may have built the very same image.
        if let Some(image) = self.built_before(&key, progress)? {
            replace(&self.names().join(&name), image.id.as_bytes())?;
            return Ok(image);
        }
        let dir = TemporaryDir::new(&self.images())?;
        let root = dir.path().join(ROOT);
        let (packages, size_bytes) = match self.same_root(&root_key, progress)? {
            Some(image) => {
                share(&image.dir.join(ROOT), &root)?;
                (image.manifest.packages, image.manifest.root_size_bytes)
            }
            None => {
                let made = make_root(recipe, dir.path(), progress)?;
                (made.0, Some(made.1))
            }
        };
        for (source, name) in [(&tiny.kernel, KERNEL), (&tiny.initramfs, INITRAMFS)] {
            share(source, &dir.path().join(name))?;
        }
        let mut inputs = tiny.manifest.inputs.clone();
        inputs.push(Input { role: ROOT_ROLE.into(), path: None, sha256: root_key });
        let mut files = tiny.manifest.files.clone();
        files.push(FileRecord {
            name: ROOT.into(),
            size_bytes: fs::metadata(&root).on("look at", &root)?.len(),
            sha256: sha256_file(&root)?,
        });
        let created_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let manifest = Manifest {
            name: NAME.into(),
            created_unix_s,
            inputs,
            files,
            packages,
            root_size_bytes: size_bytes,
            ..tiny.manifest.clone()
        };
        let image = self.finish(dir, &manifest, progress)?;
        Built::new(&image.id, Vec::new()).write(&self.index(), &key)?;
        replace(&self.names().join(&name), image.id.as_bytes())?;
        Ok(image)
    }

    /// An image whose root file system was made of the same.
    fn same_root(&self, key: &str, progress: &mut dyn FnMut(&str)) -> Result<Option<Image>, ImageError> {
        for id in self.ids()? {
            let entry = Entry::new(&self.images(), &id);
            let is_same = entry.manifest().is_ok_and(|manifest| {
                manifest.inputs.iter().any(|input| input.role == ROOT_ROLE && input.sha256 == key)
            });
            if is_same && let Some(image) = whole(entry.open(Verify::Quick), progress)? {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    fn finish(
        &self,
        dir: TemporaryDir,
        manifest: &Manifest,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Image, ImageError> {
        let id = manifest.id();
        if let Some(image) = whole(Entry::new(&self.images(), &id).open(Verify::Full), progress)? {
            return Ok(image);
        }
        let mut seen = Vec::new();
        for file in &manifest.files {
            let path = dir.path().join(&file.name);
            seen.push(Fingerprint::of(dir.path(), Path::new(&file.name)).on("look at", &path)?);
        }
        write_synced(&dir.path().join(MANIFEST), &manifest.to_json())?;
        write_synced(&dir.path().join(VERIFIED), &verified_json(&seen))?;
        self.put(&id, dir)
    }
}

/// Makes the root file system in `work`. Gives its packages, and the size of the disk.
fn make_root(
    recipe: &BenchRecipe,
    work: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<(Vec<PackageRecord>, u64), ImageError> {
    progress("making the root file system of the image bench with mmdebstrap: one to some minutes, once");
    let parts = work.join("parts");
    fs::create_dir(&parts).on("create", &parts)?;
    let owners = parts.join("owners");
    let tree = recipe.unpack(&owners, &parts)?;
    let status = tree.join("var/lib/dpkg/status");
    let packages = packages(&fs::read_to_string(&status).on("read", &status)?);
    progress("making a disk image of it");
    let raw = parts.join("raw");
    ext4::make(&tree, &raw, &recipe.kind(&owners))?;
    let disk = File::open(&raw).on("open", &raw)?;
    let size_bytes = disk.metadata().on("look at", &raw)?.len();
    let target = work.join(ROOT);
    let mut file = File::create_new(&target).on("create", &target)?;
    qcow2::write_copy(&disk, &file).on("write", &target)?;
    file.flush().and_then(|()| file.sync_all()).on("write", &target)?;
    fs::remove_dir_all(&parts).on("remove", &parts)?;
    Ok((packages, size_bytes))
}

/// Gives a file that is never written to another name, or copies it where that cannot be.
fn share(source: &Path, target: &Path) -> Result<(), ImageError> {
    if fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target).on("copy", source)?;
    File::open(target).and_then(|file| file.sync_all()).on("write", target)
}

/// The packages that dpkg's record of them lists as installed, by name (dpkg(1), deb822(5)).
fn packages(status: &str) -> Vec<PackageRecord> {
    let field = |paragraph: &str, name: &str| {
        paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let mut packages: Vec<_> = status
        .split("\n\n")
        .filter(|paragraph| field(paragraph, "Status").is_some_and(|status| status.ends_with(" installed")))
        .filter_map(|paragraph| {
            Some(PackageRecord { name: field(paragraph, "Package")?, version: field(paragraph, "Version")? })
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_listed_by_name() {
        let status = "Package: fio\nStatus: install ok installed\nVersion: 3.33-3\nDescription: disk\n Version: no\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                      Package: base-files\nStatus: install ok installed\nVersion: 12.4\n";
        let found: Vec<_> =
            packages(status).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect();
        assert_eq!(found, ["base-files 12.4", "fio 3.33-3"]);
    }
}
