//! Any bytes as a payload: they are linted, and what is unpacked of them stays below its root.

#![no_main]

#[path = "../../crates/payload/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    support::check_any_archive(bytes);
    support::check_any_tar(bytes);
});
