//! Any JSON as what a sandbox service answers: whatever it says of its times, they fit into the time that it took.

#![no_main]

use std::sync::LazyLock;

use serde_json::Value;
use virtmark_driver_endpoint::Mapping;
use virtmark_driver_endpoint::fuzzing::answer;

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| Mapping::virtmark().expect("it comes with the driver"));

libfuzzer_sys::fuzz_target!(|input: (&[u8], u64)| {
    let (bytes, wall_ns) = input;
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let (timeline, _) = answer(&MAPPING, &value, wall_ns);
    assert_eq!(timeline.total_ns(), wall_ns);
});
