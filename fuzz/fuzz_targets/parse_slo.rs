//! Any text as objectives of a service: it is refused in words, or means the same when it was written again.

#![no_main]

use virtmark_stats::knee::Slo;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match text.parse::<Slo>() {
        Ok(slo) => assert_eq!(slo.to_string().parse(), Ok(slo)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
