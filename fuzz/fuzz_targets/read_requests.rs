//! Any bytes in the body of a sandbox request: they are refused, or a request that leads nowhere else.

#![no_main]

#[path = "../../crates/sandbox/tests/support/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    requests::check_any_body(body);
});
