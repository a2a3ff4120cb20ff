//! Any text as a line of the load generator in a guest: it is no event, or one that reads the same when it was written again.

#![no_main]

use virtmark_load::Event;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(event) = serde_json::from_str::<Event>(text) else { return };
    if let Event::Outcome(outcome) = event {
        let latency = &outcome.latency;
        assert_eq!(latency.min_ns().is_some(), latency.count() > 0);
        assert!(latency.percentile_ns(50.0) <= latency.max_ns());
        assert!(outcome.failed() >= outcome.errors.values().map(|error| error.count).max().unwrap_or(0));
        let written = serde_json::to_string(&Event::Outcome(outcome.clone())).expect("an outcome is JSON");
        match serde_json::from_str(&written).expect("it was an event before") {
            Event::Outcome(again) => assert_eq!(again.latency, outcome.latency),
            other => panic!("{other:?}"),
        }
    }
});
