//! Any bytes as an exported run: they are refused and leave nothing, or are a run that can be exported and imported again.

#![no_main]

#[path = "../../crates/archive/tests/support/import.rs"]
mod import;

use std::cell::RefCell;

use tempfile::TempDir;
use virtmark_archive::Archive;

thread_local! {
    /// One archive for all inputs: making one takes longer than everything else.
    static ARCHIVE: RefCell<(TempDir, Archive)> = RefCell::new(import::new_archive());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ARCHIVE.with_borrow_mut(|(_, archive)| import::check_any_export(archive, bytes));
});
