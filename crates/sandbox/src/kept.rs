//! A machine's kept state with the record of what it is: a directory that is whole or not there.
//!
//! ```text
//! <directory>/machine/           what the platform wrote
//!             meta.json          what it is, with its own checksum: written last, it makes the directory whole
//!             meta.json.partial  while that is being written
//! ```
//!
//! A directory without `meta.json` is what a killed service, or a deletion that had to wait, left: nothing opens it,
//! and the next start removes it. The files of a snapshot may be mapped by machines that go on from it, so that it is
//! removed only when the last of them is gone.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use virtmark_hypervisor::{Hypervisor, Snapshot};

use crate::{Error, Result};

const MACHINE: &str = "machine";
const META: &str = "meta.json";
const PARTIAL: &str = "meta.json.partial";

/// A whole snapshot on disk, shared by those who go on from it. When it is doomed, the last of them removes it.
pub(crate) struct Kept {
    directory: PathBuf,
    snapshot: Snapshot,
    hypervisor: Arc<dyn Hypervisor>,
    doomed: AtomicBool,
}

/// What `meta.json` holds.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// SHA-256 of `content` as compact JSON, in hexadecimal.
    sha256: String,
    content: T,
}

impl Kept {
    /// Makes one at `directory`, which must not exist: `write` has the platform write its part, and says what it is.
    /// What is left of one that failed is removed.
    pub(crate) fn make<T: Serialize>(
        directory: PathBuf,
        hypervisor: &Arc<dyn Hypervisor>,
        write: impl FnOnce(&Path) -> Result<(Snapshot, T)>,
    ) -> Result<(Self, T)> {
        let failed = |what: &str| Error::internal(format!("{what} {}", directory.display()));
        DirBuilder::new().mode(0o700).create(&directory).map_err(failed("create"))?;
        let made = write(&directory.join(MACHINE)).and_then(|(snapshot, content)| {
            seal(&directory, &content).map_err(failed("write"))?;
            Ok((snapshot, content))
        });
        match made {
            Ok((snapshot, content)) => Ok((Self::whole(directory, snapshot, hypervisor), content)),
            Err(error) => {
                // The first error is the one that matters; what stays is not whole, and the next start's to remove.
                let _ = fs::remove_dir_all(&directory);
                Err(error)
            }
        }
    }

    /// Opens the one at `directory`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn open<T: Serialize + DeserializeOwned>(
        directory: PathBuf,
        disk_bytes: impl FnOnce(&T) -> u64,
        hypervisor: &Arc<dyn Hypervisor>,
    ) -> Result<(Self, T), String> {
        let content: T = unseal(&directory)?;
        let machine = directory.join(MACHINE);
        if !machine.is_dir() {
            return Err("the directory with its machine is missing".into());
        }
        let snapshot = Snapshot { directory: machine, disk_bytes: disk_bytes(&content) };
        Ok((Self::whole(directory, snapshot, hypervisor), content))
    }

    fn whole(directory: PathBuf, snapshot: Snapshot, hypervisor: &Arc<dyn Hypervisor>) -> Self {
        Self { directory, snapshot, hypervisor: Arc::clone(hypervisor), doomed: AtomicBool::new(false) }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// From now on nobody can open it, also after a restart; the last who uses it removes it. Gives whether that was
    /// the caller, who is to have no other handle of it.
    ///
    /// # Errors
    /// It could not be made so, and stays; or its files could not be removed, and are the next start's to remove.
    pub(crate) fn doom(self: Arc<Self>) -> Result<bool> {
        let action = || Error::internal(format!("remove {}", self.directory.display()));
        match fs::remove_file(self.directory.join(META)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(action()(error)),
            _ => {}
        }
        self.doomed.store(true, Ordering::SeqCst);
        match Arc::try_unwrap(self) {
            Ok(kept) => kept.remove().map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Removes its files.
    fn remove(&self) -> Result<()> {
        self.doomed.store(false, Ordering::SeqCst);
        let action = format!("remove {}", self.directory.display());
        // What the platform cannot give up is tried again as plain files, and the first error told.
        let discarded = self.hypervisor.discard(self.snapshot.clone());
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::internal(action)(error)),
            _ => discarded.map_err(|error| Error::Internal { action, reason: error.to_string() }),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::SeqCst) {
            // What stays has no `meta.json`: the next start removes it.
            let _ = self.remove();
        }
    }
}

/// The directories in `parent`, with their names; those that are not whole are removed first. What is no directory was
/// never ours, and stays.
pub(crate) fn whole_ones(parent: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = || Error::internal(format!("read {}", parent.display()));
    let mut whole = Vec::new();
    for entry in fs::read_dir(parent).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if !entry.file_type().map_err(failed())?.is_dir() {
            continue;
        }
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if path.join(META).exists() {
            whole.push((name, path));
        } else {
            remove(&path)?;
        }
    }
    Ok(whole)
}

/// Removes a directory that is of no use.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::internal(format!("remove {}", directory.display()))(error))
        }
        _ => Ok(()),
    }
}

/// SHA-256 in hexadecimal of a value's compact JSON.
pub(crate) fn sha256_json<T: Serialize>(value: &T) -> io::Result<String> {
    let bytes = serde_json::to_vec(value)?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn seal<T: Serialize>(directory: &Path, content: &T) -> io::Result<()> {
    let sealed = Sealed { sha256: sha256_json(content)?, content };
    let partial = directory.join(PARTIAL);
    let file = File::create_new(&partial)?;
    serde_json::to_writer_pretty(&file, &sealed)?;
    file.sync_all()?;
    fs::rename(&partial, directory.join(META))?;
    File::open(directory)?.sync_all()
}

fn unseal<T: Serialize + DeserializeOwned>(directory: &Path) -> Result<T, String> {
    let text = fs::read(directory.join(META)).map_err(|error| format!("{META} cannot be read: {error}"))?;
    let sealed: Sealed<T> =
        serde_json::from_slice(&text).map_err(|error| format!("{META} is not what was written: {error}"))?;
    let found = sha256_json(&sealed.content).map_err(|error| error.to_string())?;
    if found == sealed.sha256 {
        Ok(sealed.content)
    } else {
        Err(format!("{META} has the checksum {found} instead of {}", sealed.sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_no_byte_of_it_can_change_unnoticed() {
        let place = tempfile::tempdir().unwrap();
        let content = vec![("name".to_owned(), 7u64), ("other".to_owned(), 8)];
        seal(place.path(), &content).unwrap();
        assert_eq!(unseal::<Vec<(String, u64)>>(place.path()).unwrap(), content);
        let path = place.path().join(META);
        let whole = fs::read(&path).unwrap();
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            fs::write(&path, &changed).unwrap();
            if let Ok(read) = unseal::<Vec<(String, u64)>>(place.path()) {
                assert_eq!(read, content, "byte {position}");
            }
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(unseal::<Vec<(String, u64)>>(place.path()).is_err());
    }

    #[test]
    fn what_is_not_whole_is_removed() {
        let place = tempfile::tempdir().unwrap();
        for (name, file) in [("killed", "machine"), ("almost", PARTIAL), ("whole", META)] {
            fs::create_dir(place.path().join(name)).unwrap();
            fs::write(place.path().join(name).join(file), "x").unwrap();
        }
        // A stray file, and a way out of here.
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("precious"), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), place.path().join("link")).unwrap();
        fs::write(place.path().join("file"), "x").unwrap();
        let found = whole_ones(place.path()).unwrap();
        assert_eq!(found, [("whole".to_owned(), place.path().join("whole"))]);
        assert!(elsewhere.path().join("precious").exists() && place.path().join("file").exists());
        assert!(!place.path().join("killed").exists() && !place.path().join("almost").exists());
    }
}
