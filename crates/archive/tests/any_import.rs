//! Any bytes as an exported run, and exports with something else in them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/import.rs"]
mod import;

use std::fs;

use import::{check_any_export, new_archive};
use proptest::prelude::*;

/// What an archive exported once.
fn golden(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn exports_that_are_stored_are_taken() {
    let (_directory, mut archive) = new_archive();
    for name in ["run.json", "run.jsonl"] {
        assert!(check_any_export(&mut archive, &golden(name)), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_refused_without_a_trace(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_directory, mut archive) = new_archive();
        prop_assert!(!check_any_export(&mut archive, &bytes));
    }

    #[test]
    fn any_damage_is_refused_or_still_a_run(lines in any::<bool>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_directory, mut archive) = new_archive();
        let mut bytes = golden(if lines { "run.jsonl" } else { "run.json" });
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check_any_export(&mut archive, &bytes);
    }
}
