//! Jobs as they may be written, and texts that are none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/job.rs"]
mod support;

use proptest::prelude::*;
use support::check_any_job;
use virtmark_load::Job;

const JOBS: [&str; 3] = [
    r#"{"target": {"kind": "command", "argv": ["true"], "env": [["A", "b"]]},
        "arrivals": {"kind": "closed", "concurrency": 4}, "duration_ns": 1000, "request_timeout_ns": 1000}"#,
    r#"{"target": {"kind": "http", "url": "http://x/", "version": "2", "method": "POST", "headers": [["a", "b"]],
        "body": "c", "threads": 1}, "arrivals": {"kind": "open", "rate_per_s": 0.5, "concurrency": 1},
        "warmup_iterations": 7, "duration_ns": 1000, "request_timeout_ns": 1000, "progress_interval_ns": 5}"#,
    r#"{"target": {"kind": "plan", "plan": "{}", "request": {"user_id": 1}, "async": true, "cpu_threads": 1,
        "io_threads": 2, "redis": "x:1"}, "arrivals": {"kind": "closed", "concurrency": 1}, "duration_ns": 1,
        "request_timeout_ns": 1}"#,
];

#[test]
fn jobs_are_read_and_written() {
    for text in JOBS {
        Job::parse(text).unwrap();
        check_any_job(text);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (from, to, told) in [
        ("\"argv\": [\"true\"]", "\"argv\": []", "target.argv: there is no program"),
        ("\"argv\"", "\"args\"", "unknown field `args`"),
        ("\"command\"", "\"dance\"", "unknown variant `dance`"),
        ("\"concurrency\": 4", "\"concurrency\": 0", "arrivals"),
        ("\"concurrency\": 4", "\"concurrency\": 70000", "arrivals.concurrency: 70000 is more"),
        ("\"closed\"", "\"open\", \"rate_per_s\": 0", "arrivals.rate_per_s: 0 is no rate"),
        ("\"closed\"", "\"open\"", "missing field `rate_per_s`"),
        (
            "\"duration_ns\": 1000",
            "\"duration_ns\": 86400000000001",
            "duration_ns: 86400.000000001s is longer",
        ),
        ("\"duration_ns\": 1000", "\"duration_ns\": -1", "duration_ns: invalid value"),
        ("\"duration_ns\": 1000", "\"duration_s\": 1", "duration_s: unknown field"),
        ("1000}", "1000}}", "trailing characters"),
    ] {
        let text = JOBS[0].replace(from, to);
        assert_ne!(text, JOBS[0], "{from}");
        let error = Job::parse(&text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_refused_or_read(
        which in 0..JOBS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~]{0,3}"), 1..4),
    ) {
        let mut text = JOBS[which].to_owned();
        for (at, with) in changes {
            let at = at.index(text.len());
            text.replace_range(at..=at, &with);
        }
        check_any_job(&text);
    }
}
