//! What files take on disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that the files of a directory take on disk, subdirectories included and links not followed. A file that goes
/// away meanwhile takes nothing.
pub fn allocated_bytes(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let found = entry.metadata().and_then(|metadata| match metadata.is_dir() {
            true => allocated_bytes(&entry.path()),
            false => Ok(metadata.blocks() * 512),
        });
        match found {
            Ok(found) => bytes += found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
