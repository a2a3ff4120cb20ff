//! The payload file as it is sent: its bytes and what they must add up to.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cksum::Cksum;

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file to be sent, with its checksums. It is read again for every machine, a piece at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// The checksum of POSIX `cksum`, for machines without `sha256sum`.
    pub cksum: u32,
}

impl Source {
    /// Reads a file to its end, for its checksums.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut sha256, mut cksum, mut bytes) = (Sha256::new(), Cksum::default(), 0);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sha256.update(&buffer[..count]);
            cksum.update(&buffer[..count]);
            bytes += count as u64;
        }
        Ok(Self { path: path.to_owned(), bytes, sha256: hex(&sha256.finalize()), cksum: cksum.finish() })
    }

    /// Its name without directories, as it may be part of a far path.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(100).collect()
    }
}
