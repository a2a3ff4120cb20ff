//! The key pair with which machines of this store are entered by SSH.
//!
//! ```text
//! ssh/id_ed25519, ssh/id_ed25519.pub      made once by `ssh-keygen`, without a passphrase
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;

use super::Store;
use super::files::{self, TemporaryDir};
use super::lock::Lock;
use crate::ImageError;
use crate::error::IoContext;
use crate::tools::run;

const PRIVATE: &str = "id_ed25519";
const PUBLIC: &str = "id_ed25519.pub";
const KIND: &str = "ssh-ed25519";

/// A key pair of SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The file of the private key, which only its owner may read.
    pub private: PathBuf,
    /// The public key, Ed25519, as base64.
    pub public: String,
}

impl KeyPair {
    /// What lets whoever has the key into a machine of the image `bench`, as root: an argument for its kernel.
    pub fn kernel_argument(&self) -> String {
        format!("virtmark.authorized={}", self.public)
    }
}

impl Store {
    /// The key pair of this store, made by `ssh-keygen` if there is none.
    ///
    /// Errors: `ssh-keygen` is missing or failed, or the store cannot be written.
    pub fn ensure_key_pair(&self) -> Result<KeyPair, ImageError> {
        let place = self.dir().join("ssh");
        if let Some(pair) = read(&place)? {
            return Ok(pair);
        }
        let _lock = Lock::store(&self.lock_path(), || {})?;
        if let Some(pair) = read(&place)? {
            return Ok(pair);
        }
        let work = TemporaryDir::new(&self.images())?;
        let keys = work.path().join("ssh");
        DirBuilder::new().mode(0o700).create(&keys).on("create", &keys)?;
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "virtmark", "-f"]).arg(keys.join(PRIVATE));
        run(&mut keygen, "ssh-keygen")?;
        if place.exists() {
            files::remove_dir(&place)?;
        }
        fs::rename(&keys, &place).on("create", &place)?;
        read(&place)?.ok_or_else(|| ImageError::Tool {
            tool: "ssh-keygen",
            reason: format!("what it wrote into {} is no {KIND} key", place.display()),
        })
    }
}

/// The pair in `place`; `None` when it is not there or not whole.
fn read(place: &std::path::Path) -> Result<Option<KeyPair>, ImageError> {
    let (private, public) = (place.join(PRIVATE), place.join(PUBLIC));
    let line = match fs::read_to_string(&public) {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).on("read", &public),
    };
    let key = line.strip_prefix(KIND).and_then(|rest| rest.split_ascii_whitespace().next());
    let whole = key.filter(|_| private.exists());
    Ok(whole.map(|key| KeyPair { private: private.clone(), public: key.to_owned() }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_store_has_one_key_pair_and_makes_half_a_one_again() {
        if let Err(error) = run(Command::new("ssh-keygen").args(["-l", "-f", "/dev/null"]), "ssh-keygen")
            && error.to_string().contains("not installed")
        {
            eprintln!("skipped: {error}");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path().join("store")).unwrap();
        let pair = store.ensure_key_pair().unwrap();
        assert!(pair.public.starts_with("AAAA") && pair.kernel_argument().ends_with(&pair.public));
        assert_eq!(fs::metadata(&pair.private).unwrap().mode() & 0o777, 0o600);
        assert_eq!(store.ensure_key_pair().unwrap(), pair);
        fs::remove_file(&pair.private).unwrap();
        let other = store.ensure_key_pair().unwrap();
        assert_ne!(other.public, pair.public);
        assert!(other.private.exists());
    }
}
