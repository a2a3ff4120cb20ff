//! Doors for fuzz targets: what a service answers comes in by HTTP only.

use serde_json::Value;
use virtmark_model::Timeline;

use crate::Mapping;
use crate::guest::decoded;
use crate::times::{Reported, timeline};

/// Reads an answer as that to a request for a machine and to a command: the time of the first taken apart, which took
/// `wall_ns` in all, and the output of the second.
pub fn answer(mapping: &Mapping, answer: &Value, wall_ns: u64) -> (Timeline, Option<Vec<u8>>) {
    let start = &mapping.create.answer;
    let reported = Reported {
        duration_ns: start.duration.as_ref().and_then(|duration| duration.ns(answer)),
        phases: start.phases.as_ref().and_then(|phases| phases.read(answer)).unwrap_or_default(),
    };
    let exec = &mapping.exec.answer;
    let text = exec.stdout.find(answer).and_then(Value::as_str);
    (timeline(wall_ns, reported, "create").0, text.and_then(|text| decoded(text, exec.encoding)))
}
