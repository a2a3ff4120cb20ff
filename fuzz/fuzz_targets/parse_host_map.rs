//! Any bytes as a map of machines: it is refused in one line, or the same when it is written and read again.

#![no_main]

#[path = "../../crates/fleet/tests/support/map.rs"]
mod map;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    map::check_any_map(bytes);
});
