//! Any text as the mapping of a service's API: it is refused with the line, or taken.

#![no_main]

#[path = "../../crates/drivers/endpoint/tests/support/mapping.rs"]
mod mapping;

libfuzzer_sys::fuzz_target!(|text: &str| {
    mapping::check_any_mapping(text);
});
