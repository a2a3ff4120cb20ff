//! Any text as the CSV of a sweep: it is refused with the line, or its rows can be written again and summarised.

#![no_main]

#[path = "../../crates/scenarios/tests/support/sweep_csv.rs"]
mod sweep_csv;

libfuzzer_sys::fuzz_target!(|text: &str| {
    sweep_csv::check_any_csv(text);
});
