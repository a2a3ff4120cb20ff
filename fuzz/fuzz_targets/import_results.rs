//! Any bytes as a result file of the ComputeSDK benchmarks: it is refused, or its runs can be written again.

#![no_main]

#[path = "../../crates/scenarios/tests/support/import.rs"]
mod import;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    import::check_any_file(bytes);
});
