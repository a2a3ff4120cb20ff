//! Any bytes as what a Redis answers: answers until an error, none of which holds more than came.

#![no_main]

use virtmark_plan::fuzzing::read_redis;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    loop {
        let before = rest.len();
        match read_redis(&mut rest) {
            // An answer is a byte and a line end at least.
            Ok(content) => assert!(rest.len() + content.max(3) <= before, "{content}"),
            Err(_) => break,
        }
    }
});
