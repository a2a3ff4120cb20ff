//! Any text as a suite: it is refused with places that the text has, or its steps are worth running.

#![no_main]

use std::collections::BTreeSet;
use std::time::Duration;

use virtmark_suite::{Problem, RawStep, Suite, Vocabulary};

/// Takes every step: commands are the command line's, and not what is looked at here.
struct Any;

impl Vocabulary for Any {
    fn arguments(&self, step: &RawStep) -> Result<Vec<String>, Vec<Problem>> {
        let parameters = step.parameters.iter().map(|parameter| format!("--{}", parameter.name));
        Ok([step.run.clone()].into_iter().chain(parameters).collect())
    }

    fn warms_up(&self, run: &str) -> bool {
        run.len() % 2 == 0
    }

    fn duration(&self, text: &str) -> Result<Duration, String> {
        let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
        seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?} is not a duration"))
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Suite::parse(text, &Any) {
        Ok(suite) => {
            assert!(!suite.name.is_empty() && !suite.steps.is_empty());
            let labels: BTreeSet<&String> = suite.steps.iter().map(|step| &step.label).collect();
            assert_eq!(labels.len(), suite.steps.len(), "two steps share a label");
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            // A last line may be empty.
            let lines = text.split('\n').count();
            for problem in problems {
                let place = problem.place;
                assert!((1..=lines).contains(&place.line) && place.column >= 1, "{problem}");
            }
        }
    }
});
