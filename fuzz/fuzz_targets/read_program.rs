//! Any bytes as a program that is linked to libraries: it is none, or the names of its libraries are in the file.

#![no_main]

#[path = "../support/magic.rs"]
mod magic;

use virtmark_scenarios::sweep::Closure;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&magic::as_elf(bytes));
});

fn check(bytes: &[u8]) {
    for name in Closure::asked_for_in(bytes).into_iter().flatten() {
        let name = name.as_bytes();
        assert!(name.is_empty() || bytes.windows(name.len()).any(|window| window == name), "{name:?}");
    }
}
