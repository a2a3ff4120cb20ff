//! Short lives of real machines, recorded while they last.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::str::contains;

#[test]
fn real_short_lives_are_recorded_from_their_first_second_to_their_last() {
    let world = World::real();
    let store = world.path("store");
    let arguments = ["capture", "--duration", "12", "--scrape-interval", "1s"];
    let report = world.json(&[&arguments[..], &["--store", store.to_str().unwrap()]].concat());
    assert_eq!(report["lives_success"], 1, "{report}");
    let life = &report["lives"][0];
    assert!(life["lived_ns"].as_u64().unwrap() >= 12_000_000_000);
    let recorder = &life["sources"][0];
    assert_eq!(recorder["source"], "recorder");
    assert!(recorder["points_stored"].as_u64().unwrap() >= 12, "{recorder}");
    assert!(recorder["capture_rate"].as_f64().unwrap() >= 0.95, "{recorder}");
    for phase in ["cpu_burst", "idle"] {
        assert!(recorder["phases_told_apart"].as_array().unwrap().contains(&phase.into()), "{recorder}");
    }
    // Beside it either what a Prometheus has, or why there is none.
    let prometheus = &life["sources"][1];
    assert!(prometheus["points_stored"].is_u64() || prometheus["skipped"].is_string(), "{prometheus}");
    assert_eq!(world.json(&["show", "latest"]), report);
    world
        .virtmark(&[
            "series",
            "query",
            store.to_str().unwrap(),
            "vmm_resident_bytes",
            "--range",
            "all",
            "--format",
            "csv",
        ])
        .assert()
        .success()
        .stdout(contains("capture-12s-0"));
    world.assert_clean();
}

#[test]
fn real_capture_says_what_the_bare_host_cannot_do() {
    let world = World::new();
    let report = world.json(&["capture", "--hypervisor", "native", "--duration", "1"]);
    assert_eq!(report["lives_success"], 0);
    assert!(report["lives"][0]["lived_ns"].is_null());
    world.assert_clean();
}
