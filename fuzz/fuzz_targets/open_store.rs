//! Any bytes in the files of a time-series store: it is refused, or read and written without harm.

#![no_main]

#[path = "../../crates/timeseries/tests/support/patched.rs"]
mod patched;

libfuzzer_sys::fuzz_target!(|input: &[u8]| patched::check_any_patches(input));
