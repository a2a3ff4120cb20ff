//! A `/lib/modules/RELEASE` directory: where each module is, what it needs, and what the kernel has built in.
//!
//! `modules.dep` is written by depmod when a kernel is installed. A kernel that was only unpacked has none; then the
//! modules themselves tell.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{ModInfo, debug_info, signature};
use crate::ImageError;
use crate::digest::sha256;
use crate::error::IoContext;
use crate::fingerprint::Fingerprint;
use crate::kernel::compression;

/// The modules of one kernel.
pub(super) struct ModuleTree {
    dir: PathBuf,
    /// Module name → file.
    paths: BTreeMap<String, PathBuf>,
    /// Module name → names it needs; absent without `modules.dep`.
    needs: Option<BTreeMap<String, BTreeSet<String>>>,
    builtin: BTreeSet<String>,
    inputs: RefCell<Vec<Fingerprint>>,
    files: RefCell<BTreeMap<String, Rc<ModuleFile>>>,
}

/// A module's file, prepared for the guest.
pub(super) struct ModuleFile {
    pub(super) info: ModInfo,
    pub(super) source_sha256: String,
    pub(super) bytes: Vec<u8>,
}

impl ModuleTree {
    /// Reads the lists in `dir`, or walks it.
    pub(super) fn open(dir: &Path) -> Result<Self, ImageError> {
        let mut inputs = Vec::new();
        let mut list = |name: &str| -> Result<Option<String>, ImageError> {
            let path = dir.join(name);
            match read_noted(&path, &mut inputs) {
                Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).on("read", &path),
            }
        };
        let builtin = list("modules.builtin")?.unwrap_or_default();
        let dependencies = list("modules.dep")?.filter(|text| !text.trim().is_empty());
        let (paths, needs) = match &dependencies {
            Some(text) => {
                let (paths, needs) = parse_dependencies(text);
                let paths = paths.into_iter().map(|(name, path)| (name, dir.join(path)));
                (paths.collect(), Some(needs))
            }
            None => {
                let mut paths = BTreeMap::new();
                walk(dir, &mut paths)?;
                (paths, None)
            }
        };
        Ok(Self {
            dir: dir.to_owned(),
            paths,
            needs,
            builtin: builtin.lines().filter_map(module_name).collect(),
            inputs: RefCell::new(inputs),
            files: RefCell::default(),
        })
    }

    /// Every file that was read, as it looked before.
    pub(super) fn into_inputs(self) -> Vec<Fingerprint> {
        self.inputs.into_inner()
    }

    pub(super) fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// The file of a module.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf, ImageError> {
        let missing = || ImageError::ModuleMissing { name: name.to_owned(), dir: self.dir.clone() };
        self.paths.get(name).cloned().ok_or_else(missing)
    }

    /// Puts `name` and everything it needs into `found`, each with its needs.
    pub(super) fn collect(
        &self,
        name: &str,
        found: &mut BTreeMap<String, BTreeSet<String>>,
    ) -> Result<(), ImageError> {
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            if found.contains_key(&name) {
                continue;
            }
            self.path(&name)?;
            let listed = match &self.needs {
                Some(needs) => needs.get(&name).cloned().unwrap_or_default(),
                None => self.read(&name)?.info.depends.iter().cloned().collect(),
            };
            let needs: BTreeSet<String> = listed.into_iter().filter(|need| !self.is_builtin(need)).collect();
            open.extend(needs.iter().cloned());
            found.insert(name, needs);
        }
        Ok(())
    }

    /// A module's contents, unpacked and stripped; read once.
    pub(super) fn read(&self, name: &str) -> Result<Rc<ModuleFile>, ImageError> {
        if let Some(file) = self.files.borrow().get(name) {
            return Ok(Rc::clone(file));
        }
        let path = self.path(name)?;
        let raw = read_noted(&path, &mut self.inputs.borrow_mut()).on("read", &path)?;
        let file =
            Rc::new(prepare(&raw).map_err(|reason| ImageError::ModuleFormat { path: path.clone(), reason })?);
        self.files.borrow_mut().insert(name.to_owned(), Rc::clone(&file));
        Ok(file)
    }
}

fn read_noted(path: &Path, inputs: &mut Vec<Fingerprint>) -> io::Result<Vec<u8>> {
    let before = Fingerprint::of(Path::new(""), path)?;
    let bytes = fs::read(path)?;
    inputs.push(before);
    Ok(bytes)
}

pub(super) fn prepare(raw: &[u8]) -> Result<ModuleFile, String> {
    let unpacked = if raw.starts_with(b"\x7fELF") {
        signature::strip(raw).to_vec()
    } else {
        signature::strip(&compression::decompress(raw)?).to_vec()
    };
    let bytes = debug_info::strip(unpacked)?;
    Ok(ModuleFile { info: ModInfo::parse(&bytes)?, source_sha256: sha256(raw), bytes })
}

type Dependencies = (BTreeMap<String, PathBuf>, BTreeMap<String, BTreeSet<String>>);

/// Lines `path: path path…` (modules.dep(5)).
fn parse_dependencies(text: &str) -> Dependencies {
    let mut paths = BTreeMap::new();
    let mut needs = BTreeMap::new();
    for (module, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        if let Some(name) = module_name(module) {
            paths.insert(name.clone(), PathBuf::from(module.trim()));
            needs.insert(name, rest.split_whitespace().filter_map(module_name).collect());
        }
    }
    (paths, needs)
}

/// Name of a module from its file's path: without directory and endings, with `_` for `-` as Linux does.
fn module_name(path: &str) -> Option<String> {
    let file = path.trim().rsplit('/').next()?;
    let stem = [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().find_map(|ending| file.strip_suffix(ending))?;
    (!stem.is_empty()).then(|| stem.replace('-', "_"))
}

/// Finds module files. What lies in `updates` replaces what the kernel came with, as depmod has it.
fn walk(dir: &Path, paths: &mut BTreeMap<String, PathBuf>) -> Result<(), ImageError> {
    let mut entries =
        fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).on("list the modules in", dir)?;
    entries.sort_by_key(|entry| (entry.file_name() != "updates", entry.file_name()));
    for entry in entries {
        let path = entry.path();
        // `build` and `source` are links to the kernel's sources: only real directories are entered.
        let kind = entry.file_type().on("look at", &path)?;
        if kind.is_dir() {
            walk(&path, paths)?;
        } else if let Some(name) = path.to_str().and_then(module_name) {
            paths.entry(name).or_insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_come_from_paths_in_all_forms() {
        let name = |path| module_name(path).unwrap_or_default();
        assert_eq!(name("kernel/drivers/char/hw_random/virtio-rng.ko"), "virtio_rng");
        assert_eq!(name("fuse.ko.zst"), "fuse");
        assert_eq!(name("a/b.ko.xz "), "b");
        assert_eq!(name("a/b.ko.gz"), "b");
        assert_eq!(module_name("modules.order"), None);
        assert_eq!(module_name("a/.ko"), None);
    }

    #[test]
    fn modules_in_updates_win() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["kernel/x.ko", "updates/x.ko", "kernel/y.ko"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        let mut paths = BTreeMap::new();
        walk(dir.path(), &mut paths).unwrap();
        assert_eq!(paths["x"], dir.path().join("updates/x.ko"));
        assert_eq!(paths["y"], dir.path().join("kernel/y.ko"));
    }

    proptest! {
        #[test]
        fn arbitrary_lists_never_panic(text in ".{0,200}") {
            let (paths, needs) = parse_dependencies(&text);
            prop_assert_eq!(paths.len(), needs.len());
        }

        #[test]
        fn arbitrary_module_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(prepare(&bytes).is_err());
        }
    }
}
