//! Any bytes as a kernel module: refused in words, or what a guest gets of them is a module's file too.

#![no_main]

#[path = "../support/magic.rs"]
mod magic;

use virtmark_image::fuzzing::module;

libfuzzer_sys::fuzz_target!(|input: (&[u8], u8)| {
    let (bytes, kind) = input;
    check(bytes);
    check(&magic::as_elf(bytes));
    check(&magic::as_compressed(bytes, kind));
});

fn check(bytes: &[u8]) {
    match module(bytes) {
        Ok(prepared) => assert!(prepared.starts_with(b"\x7fELF")),
        Err(why) => assert!(!why.is_empty()),
    }
}
