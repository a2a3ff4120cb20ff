//! Any text as a selector of time series: it is refused with the byte, or reads the same when it was written again.

#![no_main]

use virtmark_timeseries::Selector;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match text.parse::<Selector>() {
        Ok(selector) => assert_eq!(selector.to_string().parse(), Ok(selector)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
