//! Which image a recipe gave last time, and how its input files looked then: `index/KEY.json`.
//!
//! It makes asking for an unchanged image a matter of a few file look-ups. It is only a shortcut: without it, or when
//! any input looks different, the image is built again, and has the same id if nothing really changed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::replace;
use super::manifest::FORMAT_VERSION;
use crate::digest::sha256;
use crate::error::IoContext;
use crate::fingerprint::Fingerprint;
use crate::sources::Sources;
use crate::{ImageError, TinyRecipe};

/// What was built from a recipe.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Built {
    pub(super) id: String,
    inputs: Vec<Fingerprint>,
}

impl Built {
    /// A record that `id` was made of files that looked like `inputs` before they were read.
    pub(super) fn new(id: &str, inputs: Vec<Fingerprint>) -> Self {
        let id = id.to_owned();
        Self { id, inputs }
    }

    /// Whether no input looks different now.
    pub(super) fn is_current(&self) -> bool {
        self.inputs.iter().all(|input| input.holds(Path::new("")))
    }

    /// Reads the record of `key`; a missing or unreadable one is no record.
    pub(super) fn read(index: &Path, key: &str) -> Option<Self> {
        let bytes = fs::read(path(index, key)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(super) fn write(&self, index: &Path, key: &str) -> Result<(), ImageError> {
        // A path that is not UTF-8 cannot be recorded; the image is then found by building it again.
        match serde_json::to_vec(self) {
            Ok(json) => replace(&path(index, key), &json),
            Err(_) => Ok(()),
        }
    }

    /// Removes all records of the image `id`.
    pub(super) fn forget(index: &Path, id: &str) -> Result<(), ImageError> {
        for entry in fs::read_dir(index).on("list", index)?.filter_map(Result::ok) {
            let record = fs::read(entry.path()).ok();
            let built: Option<Self> = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if built.is_some_and(|built| built.id == id) {
                fs::remove_file(entry.path()).on("remove", &entry.path())?;
            }
        }
        Ok(())
    }
}

/// The key of a recipe: SHA-256 of where its inputs lie, and of those that are in memory.
pub(super) fn key(recipe: &TinyRecipe, sources: &Sources) -> String {
    let mut text = Vec::new();
    // Each part with its length in front, so that no two lists of parts look the same.
    let mut part = |bytes: &[u8]| {
        text.extend((bytes.len() as u64).to_le_bytes());
        text.extend(bytes);
    };
    part(&FORMAT_VERSION.to_le_bytes());
    part(recipe.arch.name().as_bytes());
    part(sources.kernel.as_os_str().as_bytes());
    let modules = sources.modules.iter().map(|path| path.as_os_str());
    part(modules.collect::<OsString>().as_bytes());
    part(sources.busybox.as_os_str().as_bytes());
    part(sha256(&recipe.agent).as_bytes());
    for file in &recipe.extra_files {
        part(file.path.as_bytes());
        part(&file.mode.to_le_bytes());
        part(sha256(&file.contents).as_bytes());
    }
    sha256(&text)
}

fn path(index: &Path, key: &str) -> PathBuf {
    index.join(format!("{key}.json"))
}
