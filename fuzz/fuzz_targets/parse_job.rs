//! Any text as a job of the load generator: it is refused in words, or reads the same when it was written again.

#![no_main]

#[path = "../../crates/load/tests/support/job.rs"]
mod job;

libfuzzer_sys::fuzz_target!(|text: &str| {
    job::check_any_job(text);
});
