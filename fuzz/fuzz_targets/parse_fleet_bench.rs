//! Any bytes as the bench of a fleet: it is refused with a line that the text has, or it has something to run.

#![no_main]

use std::path::Path;

use virtmark_fleet::bench::{BenchFile, BenchFileError};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match BenchFile::parse(bytes, Path::new("bench.toml")) {
        Ok(file) => {
            assert!(!file.payloads.is_empty());
            assert!(file.payloads.iter().all(|payload| file.repetitions(payload) >= 1));
        }
        Err(BenchFileError::Invalid { line, problem, .. }) => {
            let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!((1..=lines).contains(&line) && !problem.contains('\n'), "line {line}: {problem}");
        }
        Err(error) => panic!("{error}"),
    }
});
