//! Any bytes as the output of a payload: the results are the same however it is cut, and what is one reads back.

#![no_main]

#[path = "../../crates/payload/tests/support/output.rs"]
mod output;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<usize>)| {
    output::check_any_output(&input.0, &input.1);
});
