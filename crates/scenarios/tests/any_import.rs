//! Any bytes as a result file of somebody else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/import.rs"]
mod import;

use proptest::prelude::*;

use import::check_any_file;

/// A whole file that the cases change.
fn file() -> String {
    let iteration = |ms: &str| format!(r#"{{"ttiMs":{ms}}}"#);
    let entry = |head: &str, ms: &str| {
        format!(
            r#"{{"provider":"p",{head}"iterations":[{},{},{{"ttiMs":0,"error":"gone"}}],"summary":{{"ttiMs":{{"median":{ms},"p95":{ms},"p99":{ms}}}}}}}"#,
            iteration(ms),
            iteration("20")
        )
    };
    format!(
        r#"{{"version":"1.1","timestamp":"2026-01-02T03:04:05.678Z","environment":{{"node":"v22","platform":"linux","arch":"x64"}},"config":{{"iterations":3,"timeoutMs":120000}},"results":[{},{},{}]}}"#,
        entry("", "10.5"),
        entry(r#""mode":"concurrent","concurrency":3,"wallClockMs":25,"timeToFirstReadyMs":10,"#, "11"),
        entry(
            r#""mode":"staggered","concurrency":3,"staggerDelayMs":5,"wallClockMs":25,"timeToFirstReadyMs":10,"rampProfile":[{"launchedAt":0,"readyAt":12,"ttiMs":12},{"launchedAt":5,"readyAt":25,"ttiMs":20}],"#,
            "12"
        ),
    )
}

/// What a file may have in the place of another value.
fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("-1".to_owned()),
        Just("0".to_owned()),
        any::<f64>().prop_filter("no JSON", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        any::<u64>().prop_map(|value| value.to_string()),
        "[a-z]{0,8}".prop_map(|word| format!("\"{word}\"")),
    ]
}

#[test]
fn the_unchanged_file_is_read() {
    assert!(check_any_file(file().as_bytes()));
}

proptest! {
    #[test]
    fn changed_values_are_read_or_refused(at: prop::sample::Index, value in anything()) {
        let file = file();
        let starts: Vec<usize> = file.match_indices(':').map(|(at, _)| at + 1).collect();
        let start = *at.get(&starts);
        let length = file[start..].find([',', '}', ']']).unwrap();
        check_any_file(format!("{}{value}{}", &file[..start], &file[start + length..]).as_bytes());
    }

    #[test]
    fn changed_bytes_are_read_or_refused(at: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = file().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        check_any_file(&bytes);
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
        check_any_file(&bytes);
    }
}
