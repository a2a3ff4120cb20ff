//! A file mapped into memory as 64-bit words that are only ever accessed atomically.

use std::fs::File;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

use crate::error::Error;
use crate::layout::PAGE_BYTES;

#[cfg(target_endian = "big")]
compile_error!("the words of the format are little-endian and used in place");

/// Whether a mapping may be stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A whole file in memory. It stays mapped when the file is deleted.
///
/// Only the writer, which maps for reading and writing, stores to the words; a store to a read-only mapping would end
/// the process.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is memory of the whole process, and it is only accessed through atomic words.
#[allow(unsafe_code)]
unsafe impl Send for Mapping {}
// SAFETY: as above; atomic words may be used from several threads at once.
#[allow(unsafe_code)]
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` bytes, which the caller has checked to be the length of the file.
    pub(crate) fn new(file: &File, bytes: u64, access: Access, path: &Path) -> Result<Self, Error> {
        let length = usize::try_from(bytes).map_err(|_| Error::damaged(path, "it does not fit in memory"))?;
        let protection = match access {
            Access::ReadOnly => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choosing touches no memory that is in use.
        #[allow(unsafe_code)]
        let base = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0) };
        let base = base.map_err(|error| Error::io("map", path, error))?;
        let base = NonNull::new(base.cast()).ok_or_else(|| {
            Error::io("map", path, std::io::Error::other("the kernel mapped it at address 0"))
        })?;
        Ok(Self { base, words: length / 8 })
    }

    /// All words of the file.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: base is page-aligned and valid for this many words until drop, and nothing in this process
        // accesses the memory other than as atomic words.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.base.as_ptr(), self.words)
        }
    }

    /// Makes the pages of these words present and writable, so that the next store to them does not fault.
    pub(crate) fn touch(&self, from_word: usize, words: usize) {
        const PAGE_WORDS: usize = (PAGE_BYTES / 8) as usize;
        let Some(range) = words.checked_sub(1).map(|last| from_word..=from_word + last) else { return };
        for page in range.start() / PAGE_WORDS..=range.end() / PAGE_WORDS {
            if let Some(word) = self.words().get((page * PAGE_WORDS).max(from_word)) {
                // Not `fetch_or(0)`, which compilers turn into a load, and a load leaves the page write-protected.
                let held = word.load(Ordering::Relaxed);
                let _ = word.compare_exchange(held, held, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything stored so far is on disk.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), Error> {
        // SAFETY: the range is this mapping, from a page boundary on; msync changes no memory.
        #[allow(unsafe_code)]
        let synced = unsafe { msync(self.base.as_ptr().cast(), self.words * 8, MsyncFlags::SYNC) };
        synced.map_err(|error| Error::io("write to disk", path, error))
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and borrows of its words have ended with it.
        #[allow(unsafe_code)]
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.words * 8) };
        debug_assert!(unmapped.is_ok());
    }
}
