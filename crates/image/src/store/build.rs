//! Builds the image `tiny` into a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::entry::{INITRAMFS, KERNEL, MANIFEST, VERIFIED, verified_json};
use super::files::{TemporaryDir, write_synced};
use super::manifest::{FORMAT_VERSION, FileRecord, Input, Manifest, ModuleRecord};
use crate::digest::sha256;
use crate::error::IoContext;
use crate::fingerprint::Fingerprint;
use crate::initramfs::{Busybox, Contents};
use crate::kernel::Kernel;
use crate::modules::Selection;
use crate::sources::Sources;
use crate::{ImageError, TinyRecipe};

/// Name of the image.
pub(super) const NAME: &str = "tiny";

/// An image that has not been put in its place yet.
pub(super) struct Build {
    pub(super) id: String,
    pub(super) dir: TemporaryDir,
    /// Every file that was read, as it looked before.
    pub(super) inputs: Vec<Fingerprint>,
}

/// Builds the image of `recipe` in a new directory below `images`.
pub(super) fn build(
    recipe: &TinyRecipe,
    sources: &Sources,
    images: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Build, ImageError> {
    let mut inputs = Vec::new();
    for path in [&sources.kernel, &sources.busybox] {
        // A missing busybox gets a better error where it is read.
        inputs.extend(Fingerprint::of(Path::new(""), path).ok());
    }
    progress(&format!("unpacking the kernel {}", sources.kernel.display()));
    let raw = fs::read(&sources.kernel).on("read", &sources.kernel)?;
    let kernel_sha256 = sha256(&raw);
    let kernel = Kernel::parse(raw, &sources.kernel, recipe.arch)?;
    let modules = match &sources.modules {
        Some(dir) => Selection::tiny(dir, &kernel.release)?,
        None => {
            progress("no modules: the kernel must have everything built in");
            Selection::default()
        }
    };
    if !modules.absent.is_empty() {
        progress(&format!("this kernel does not have {}", modules.absent.join(", ")));
    }
    inputs.extend_from_slice(&modules.inputs);
    let busybox = Busybox::read(&sources.busybox, recipe.arch)?;
    let record = record(recipe, sources, &kernel, kernel_sha256, &modules, &busybox);

    progress("packing the initramfs");
    let initramfs = Contents {
        agent: &recipe.agent,
        busybox: &busybox,
        modules: &modules,
        extra_files: &recipe.extra_files,
        summary: summary(&record),
    }
    .archive()?;
    finish(record, &kernel.bytes, &initramfs, images, inputs)
}

fn record(
    recipe: &TinyRecipe,
    sources: &Sources,
    kernel: &Kernel,
    kernel_sha256: String,
    modules: &Selection,
    busybox: &Busybox,
) -> Manifest {
    let input = |role: String, path: Option<PathBuf>, sha256: String| Input { role, path, sha256 };
    let mut inputs = vec![
        input("agent".to_owned(), None, sha256(&recipe.agent)),
        input("busybox".to_owned(), Some(busybox.path.clone()), busybox.sha256.clone()),
        input("kernel".to_owned(), Some(sources.kernel.clone()), kernel_sha256),
    ];
    inputs.extend(modules.modules.iter().map(|module| {
        let role = format!("module {}", module.name);
        input(role, Some(module.source.clone()), module.source_sha256.clone())
    }));
    inputs.extend(
        recipe
            .extra_files
            .iter()
            .map(|file| input(format!("file {}", file.path), None, sha256(&file.contents))),
    );
    let module_records = modules.modules.iter().map(|module| ModuleRecord {
        name: module.name.clone(),
        size_bytes: module.bytes.len() as u64,
        early: modules.early.contains(&module.name),
    });
    Manifest {
        format_version: FORMAT_VERSION,
        name: NAME.to_owned(),
        arch: recipe.arch,
        created_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        kernel_release: kernel.release.clone(),
        kernel_format: kernel.format,
        pvh: kernel.pvh,
        modules: module_records.collect(),
        builtin_modules: modules.builtin.clone(),
        absent_modules: modules.absent.clone(),
        inputs,
        files: Vec::new(),
        packages: Vec::new(),
        root_size_bytes: None,
    }
}

/// What the guest is told about its image. Nothing here depends on when and where it was built.
fn summary(record: &Manifest) -> String {
    let inputs: serde_json::Map<_, _> =
        record.inputs.iter().map(|input| (input.role.clone(), input.sha256.clone().into())).collect();
    let summary = serde_json::json!({
        "format_version": record.format_version,
        "name": record.name,
        "arch": record.arch.name(),
        "kernel_release": record.kernel_release,
        "inputs": inputs,
    });
    format!("{summary:#}\n")
}

fn finish(
    mut manifest: Manifest,
    kernel: &[u8],
    initramfs: &[u8],
    images: &Path,
    inputs: Vec<Fingerprint>,
) -> Result<Build, ImageError> {
    let dir = TemporaryDir::new(images)?;
    let mut seen = Vec::new();
    for (name, contents) in [(INITRAMFS, initramfs), (KERNEL, kernel)] {
        let path = dir.path().join(name);
        write_synced(&path, contents)?;
        seen.push(Fingerprint::of(dir.path(), Path::new(name)).on("look at", &path)?);
        manifest.files.push(FileRecord {
            name: name.to_owned(),
            size_bytes: contents.len() as u64,
            sha256: sha256(contents),
        });
    }
    write_synced(&dir.path().join(MANIFEST), &manifest.to_json())?;
    write_synced(&dir.path().join(VERIFIED), &verified_json(&seen))?;
    Ok(Build { id: manifest.id(), dir, inputs })
}
