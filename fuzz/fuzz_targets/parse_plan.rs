//! Any text as a plan: it is refused with a place that the text has, or a plan whose nodes lead to its output.

#![no_main]

use virtmark_plan::Plan;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Plan::parse(text) {
        Ok(plan) => {
            assert!(!plan.name().is_empty() && plan.node_count() > 0);
            let wants_nothing = plan.parameters().iter().all(|parameter| parameter.default.is_some());
            assert_eq!(plan.request_from_text("").is_ok(), wants_nothing);
        }
        Err(error) => {
            // A last line may be empty.
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.place.line) && error.place.column >= 1, "{error}");
        }
    }
});
