//! Any bytes as a message: what decodes encodes to the same message again, and the rest is refused.

#![no_main]

#[allow(dead_code, reason = "the other target uses the rest")]
#[path = "../../crates/protocol/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| support::check_any_payload(payload));
