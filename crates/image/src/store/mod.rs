//! Images on disk, each under the hash of what it is.
//!
//! ```text
//! images/ID/            kernel, initramfs, root.qcow2 where it has one, manifest.json, verified.json
//! images/.tmp-*         a build that is running, or died; removed when the store is next opened
//! index/KEY.json        which image a recipe gave last time
//! kernels/PACKAGE_VERSION/   Debian's kernels, unpacked by `make setup`
//! names/NAME-ARCH       id of the image built last under this name
//! lock                  held while images are built or removed
//! ```
//!
//! An entry appears whole, by one rename, after its files are on disk. Damage that shows in size, inode or times is
//! found whenever an image is asked for; other damage is found by [`Verify::Full`].

mod bench;
mod build;
mod entry;
mod files;
mod index;
mod keys;
mod lock;
mod manifest;
mod volumes;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::IoContext;
use crate::sources::Sources;
use crate::{ImageError, TinyRecipe};
use entry::Entry;
pub use entry::{Image, RootFile};
use index::Built;
pub use keys::KeyPair;
use lock::Lock;
pub use manifest::{FileRecord, Input, Manifest, ModuleRecord, PackageRecord};

/// How closely an image is looked at before it is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Contents are hashed whatever the files look like.
    Full,
    /// Contents are hashed only when a file looks different from when it was last checked.
    Quick,
}

/// One image of a store, whole or damaged.
#[derive(Debug)]
pub struct Listing {
    /// Its id.
    pub id: String,
    /// Names that mean it now.
    pub names: Vec<String>,
    /// Its record, or what is wrong with the image.
    pub state: Result<Manifest, ImageError>,
}

/// A directory that keeps images.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Where images are kept when nobody says otherwise: `$VIRTMARK_CACHE`, `$XDG_CACHE_HOME/virtmark` or
    /// `~/.cache/virtmark`.
    ///
    /// Errors: none of the three variables is set.
    pub fn default_dir() -> Result<PathBuf, ImageError> {
        cache_dir(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    /// Opens the store in `dir`, makes it where there is none, and clears away what dead builds left.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let store = Self { dir: dir.into() };
        for dir in [store.images(), store.index(), store.names()] {
            fs::create_dir_all(&dir).on("create", &dir)?;
        }
        if store.places().iter().any(|place| files::has_leftovers(place))
            && let Some(_lock) = Lock::try_store(&store.lock_path())?
        {
            for place in store.places() {
                files::remove_leftovers(&place)?;
            }
        }
        Ok(store)
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where `make setup` puts unpacked Debian kernels.
    pub fn kernels_dir(&self) -> PathBuf {
        self.dir.join("kernels")
    }

    /// The image of `recipe`, built if it is not there or damaged.
    ///
    /// Takes a few milliseconds when no input changed. `progress` is told, in sentences for people, what takes longer,
    /// and why an image is built again.
    ///
    /// Errors: an input is missing or unusable, or the store cannot be written.
    pub fn ensure_tiny(
        &self,
        recipe: &TinyRecipe,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Image, ImageError> {
        let sources = Sources::find(recipe, &self.kernels_dir())?;
        let key = index::key(recipe, &sources);
        let name = format!("{}-{}", build::NAME, recipe.arch);
        if let Some(image) = self.built_before(&key, &mut |_| {})?
            && self.named(&name)?.as_deref() == Some(image.id.as_str())
        {
            return Ok(image);
        }
        let _lock = Lock::store(&self.lock_path(), || {
            progress("another process is building an image: waiting for it");
        })?;
        // Whoever had the lock may have built the very same image.
        if let Some(image) = self.built_before(&key, progress)? {
            files::replace(&self.names().join(&name), image.id.as_bytes())?;
            return Ok(image);
        }
        let build = build::build(recipe, &sources, &self.images(), progress)?;
        let entry = Entry::new(&self.images(), &build.id);
        let image = match whole(entry.open(Verify::Full), progress)? {
            Some(image) => image,
            None => self.put(&build.id, build.dir)?,
        };
        Built::new(&build.id, build.inputs).write(&self.index(), &key)?;
        files::replace(&self.names().join(&name), image.id.as_bytes())?;
        Ok(image)
    }

    /// The image with this name (`tiny`, `tiny-x86_64`) or with an id that starts so (four characters or more).
    ///
    /// Errors: there is none, there are several, or it is damaged.
    pub fn lookup(&self, query: &str, verify: Verify) -> Result<Image, ImageError> {
        let id = self.resolve(query)?;
        let image = Entry::new(&self.images(), &id).open(verify)?;
        image.ok_or_else(|| self.not_found(query))
    }

    /// All images by id, each with its record or what is wrong with it.
    pub fn list(&self) -> Result<Vec<Listing>, ImageError> {
        let mut listings = Vec::new();
        for id in self.ids()? {
            listings.push(self.listing(id, Verify::Quick)?);
        }
        Ok(listings)
    }

    /// One image, found as [`Self::lookup`] finds it, with its contents hashed.
    pub fn inspect(&self, query: &str) -> Result<Listing, ImageError> {
        self.listing(self.resolve(query)?, Verify::Full)
    }

    /// Removes an image, found as [`Self::lookup`] finds it, damaged or not, and gives back its id.
    ///
    /// Errors: a machine uses it, or an image is being built now.
    pub fn remove(&self, query: &str) -> Result<String, ImageError> {
        let id = self.resolve(query)?;
        let Some(_lock) = Lock::try_store(&self.lock_path())? else {
            return Err(ImageError::Busy { dir: self.dir.clone() });
        };
        let dir = self.images().join(&id);
        let manifest = dir.join(entry::MANIFEST);
        let _unused = match fs::File::open(&manifest) {
            Ok(file) => match Lock::exclusive(file, &manifest)? {
                Some(lock) => Some(lock),
                None => return Err(ImageError::InUse { id }),
            },
            // Nobody can hold an image without its manifest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).on("open", &manifest),
        };
        for name in self.names_of(&id)? {
            let path = self.names().join(name);
            fs::remove_file(&path).on("remove", &path)?;
        }
        Built::forget(&self.index(), &id)?;
        files::remove_dir(&dir)?;
        Ok(id)
    }

    /// The image that this recipe gave last time, if all inputs look the same and it is whole.
    fn built_before(&self, key: &str, progress: &mut dyn FnMut(&str)) -> Result<Option<Image>, ImageError> {
        let Some(built) = Built::read(&self.index(), key).filter(|built| is_id(&built.id)) else {
            return Ok(None);
        };
        if !built.is_current() {
            progress("a file that the image was made of has changed: building again");
            return Ok(None);
        }
        whole(Entry::new(&self.images(), &built.id).open(Verify::Quick), progress)
    }

    /// Puts a finished build in the place of nothing or of a damaged image.
    fn put(&self, id: &str, dir: files::TemporaryDir) -> Result<Image, ImageError> {
        let target = self.images().join(id);
        if target.exists() {
            files::remove_dir(&target)?;
        }
        dir.put_in_place(&target)?;
        let image = Entry::new(&self.images(), id).open(Verify::Quick)?;
        image.ok_or_else(|| self.not_found(id))
    }

    fn listing(&self, id: String, verify: Verify) -> Result<Listing, ImageError> {
        Ok(Listing { names: self.names_of(&id)?, state: Entry::new(&self.images(), &id).check(verify), id })
    }

    fn resolve(&self, query: &str) -> Result<String, ImageError> {
        if query.contains('/') || query.starts_with('.') || query.is_empty() {
            return Err(self.not_found(query));
        }
        // A bare name means the image for this machine's instruction set.
        for name in [query.to_owned(), format!("{query}-{}", env::consts::ARCH)] {
            if let Some(id) = self.named(&name)? {
                return Ok(id);
            }
        }
        let mut ids = self.ids()?;
        ids.retain(|id| query.len() >= 4 && id.starts_with(query));
        match ids.len() {
            0 => Err(self.not_found(query)),
            1 => Ok(ids.swap_remove(0)),
            _ => Err(ImageError::Ambiguous { query: query.to_owned(), ids }),
        }
    }

    /// The id that a name means.
    fn named(&self, name: &str) -> Result<Option<String>, ImageError> {
        let path = self.names().join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| is_id(id))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).on("read", &path),
        }
    }

    fn names_of(&self, id: &str) -> Result<Vec<String>, ImageError> {
        let mut names = entry_names(&self.names())?;
        names.retain(|name| matches!(self.named(name), Ok(Some(named)) if named == id));
        Ok(names)
    }

    fn ids(&self) -> Result<Vec<String>, ImageError> {
        let mut ids = entry_names(&self.images())?;
        ids.retain(|name| is_id(name));
        Ok(ids)
    }

    fn not_found(&self, query: &str) -> ImageError {
        ImageError::NotFound { query: query.to_owned(), dir: self.dir.clone() }
    }

    fn places(&self) -> [PathBuf; 3] {
        [self.images(), self.index(), self.names()]
    }

    fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

/// Takes damage as "there is none", and says so.
fn whole(
    opened: Result<Option<Image>, ImageError>,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<Image>, ImageError> {
    match opened {
        Err(error @ ImageError::Damaged { .. }) => {
            progress(&format!("{error}: doing so now"));
            Ok(None)
        }
        other => other,
    }
}

fn cache_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, ImageError> {
    variable("VIRTMARK_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("virtmark")))
        .or_else(|| Some(variable("HOME")?.join(".cache/virtmark")))
        .ok_or(ImageError::NoCacheDir)
}

/// Sorted names of what lies in `dir`.
fn entry_names(dir: &Path) -> Result<Vec<String>, ImageError> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>).on("list", dir)?;
    let mut names: Vec<String> =
        entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
