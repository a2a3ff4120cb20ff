//! Any text as the JSON lines of a sweep: it is refused with the line, or its rows can be written and read again.

#![no_main]

use virtmark_scenarios::sweep::jsonl;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(rows) = jsonl::parse(text, "any.jsonl") else { return };
    let mut written = Vec::new();
    for row in &rows {
        jsonl::write_row(&mut written, row).expect("memory takes everything");
    }
    let written = String::from_utf8(written).expect("JSON is UTF-8");
    assert_eq!(jsonl::parse(&written, "written.jsonl").expect("these are rows"), rows, "{written}");
});
