//! Taking files out of the host's memory.

use std::ffi::c_void;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::ptr;

use rustix::fs::{Advice, fadvise};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use virtmark_hypervisor::{Error, Result, Snapshot};

/// How much is looked at in one go.
const WINDOW_BYTES: u64 = 256 << 20;

/// Takes a snapshot's files out of the page cache, and sees that nothing of them stays there.
pub(crate) fn cool(snapshot: &Snapshot) -> Result<()> {
    let directory = &snapshot.directory;
    let failed =
        |path: &Path, error| Error::io(format!("take {} out of the host's memory", path.display()))(error);
    let mut stayed = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| failed(directory, error))? {
        let path = entry.map_err(|error| failed(directory, error))?.path();
        let bytes = cool_file(&path).map_err(|error| failed(&path, error))?;
        if bytes > 0 {
            stayed.push(format!("{bytes} bytes of {}", path.display()));
        }
    }
    if stayed.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "{} stayed: a running machine has them mapped, or they are in a file system that is in memory; destroy the \
         machines that were restored from it, or keep it on a disk",
        stayed.join(", ")
    );
    Err(failed(directory, io::Error::new(io::ErrorKind::ResourceBusy, reason)))
}

/// Gives how many bytes stay.
fn cool_file(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    // What is not on the disk yet cannot go.
    file.sync_data()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    resident_bytes(&file)
}

/// Bytes of a file that are in the page cache.
fn resident_bytes(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let page_bytes = rustix::param::page_size();
    let mut resident = 0;
    let mut offset = 0;
    while offset < length {
        let window = WINDOW_BYTES.min(length - offset);
        // At most WINDOW_BYTES.
        resident += resident_pages(file, offset, window as usize, page_bytes)? * page_bytes as u64;
        offset += window;
    }
    Ok(resident)
}

#[allow(unsafe_code)]
fn resident_pages(file: &File, offset: u64, length: usize, page_bytes: usize) -> io::Result<u64> {
    let mut pages = vec![0u8; length.div_ceil(page_bytes)];
    // SAFETY: a new mapping at an address that the kernel chooses; nothing reads or writes through it.
    let mapping: *mut c_void =
        unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, offset)? };
    // SAFETY: the mapping is `length` bytes long and at a page's start, and `pages` has a byte for each page of it.
    let asked = unsafe { libc::mincore(mapping, length, pages.as_mut_ptr()) };
    let error = io::Error::last_os_error();
    // SAFETY: the mapping of above, which nobody else knows.
    unsafe { munmap(mapping, length)? };
    if asked != 0 {
        return Err(error);
    }
    Ok(pages.iter().filter(|page| **page & 1 == 1).count() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn snapshot(directory: &Path) -> Snapshot {
        Snapshot { directory: directory.into(), disk_bytes: 0 }
    }

    #[test]
    fn what_is_on_a_disk_goes_and_what_is_mapped_stays() {
        // Beside the build's own files, which are on a disk where a temporary directory may be in memory.
        let place = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = place.path().join("memory");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.write_all_at(&[1; 40_000], 0).unwrap();
        assert_eq!(resident_bytes(&file).unwrap(), 40_960);
        if let Err(error) = cool(&snapshot(place.path())) {
            // A source tree that is in memory itself.
            assert!(error.to_string().contains("40960 bytes of"), "{error}");
            return;
        }
        assert_eq!(resident_bytes(&file).unwrap(), 0);
        let mut bytes = [0; 1];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(resident_bytes(&file).unwrap() > 0);
    }

    #[test]
    fn what_cannot_go_is_named() {
        let Ok(place) = tempfile::tempdir_in("/dev/shm") else { return };
        fs::write(place.path().join("memory"), [1; 4096]).unwrap();
        let text = cool(&snapshot(place.path())).unwrap_err().to_string();
        assert!(text.contains("4096 bytes of") && text.contains("stayed"), "{text}");
    }
}
