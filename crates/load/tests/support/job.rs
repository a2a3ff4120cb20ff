//! What holds for any text as a job. The fuzz target states the same.

use virtmark_load::Job;

/// A text is refused in words, or is a job that reads the same when it was written again.
pub(crate) fn check_any_job(text: &str) {
    match Job::parse(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(job) => {
            let written = serde_json::to_string(&job).expect("a job is JSON");
            assert_eq!(Job::parse(&written).expect("it was a job before"), job, "{written}");
        }
    }
}
