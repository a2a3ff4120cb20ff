//! Machines recorded while scenarios drive them, through the program, on the bare host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::World;
use predicates::prelude::*;
use predicates::str::contains;
use virtmark_timeseries::{Range, Reader, TierChoice};

const TTI: [&str; 7] = ["tti", "--hypervisor", "native", "--iterations", "2", "--warmup", "1"];

#[test]
fn every_machine_leaves_its_series_from_its_first_moment_on() {
    let world = World::new();
    let store = world.path("machines.store");
    let record = ["--record", store.to_str().unwrap(), "--record-interval", "10ms", "--cmd", "sleep 0.1"];
    let told = contains("creating the store").and(contains("recorded 3 machines"));
    world.virtmark(&[&TTI[..], &record].concat()).assert().success().stderr(told);

    let reader = Reader::open(&store).unwrap();
    for machine in ["warmup-0", "tti-0", "tti-1"] {
        for name in ["vmm_uptime_seconds", "vmm_resident_bytes", "guest_load1"] {
            let selector = format!("{name}{{hypervisor=native,machine={machine}}}");
            let found = reader.select(&selector.parse().unwrap()).unwrap();
            assert_eq!(found.len(), 1, "{selector}");
            let kept = reader.summaries(found[0], Range::All, TierChoice::Tier(0)).unwrap();
            let count: u64 = kept.summaries.iter().map(|(_, summary)| summary.count.unwrap()).sum();
            // It lived for a tenth of a second, and what was not asked for was seen every 10 ms.
            let least = if name == "vmm_uptime_seconds" { 5 } else { 1 };
            assert!(count >= least, "{selector} has {count} samples");
        }
    }
    let run = world.json(&["export", "latest"]);
    assert_eq!(run["run"]["configuration"]["record_interval_ns"], 10_000_000);

    // A store that is there is gone on with.
    let again = [&TTI[..], &["--record", store.to_str().unwrap()]].concat();
    world.virtmark(&again).assert().success().stderr(contains("creating").not());
    world.assert_clean();
}

#[test]
fn what_cannot_be_recorded_is_said_before_anything_is_measured() {
    let world = World::new();
    let taken = world.path("a-file");
    std::fs::write(&taken, "not a store").unwrap();
    let record = |store: &str| {
        let arguments = [&TTI[..], &["--record", store]].concat();
        world.virtmark(&arguments).assert().failure().stdout("")
    };
    record(taken.to_str().unwrap()).stderr(contains("a-file"));
    record("/proc/nowhere/store").stderr(contains("/proc/nowhere"));

    let store = world.path("busy.store");
    let options = virtmark_recorder::default_options(1).unwrap();
    let _writer = virtmark_timeseries::Writer::create(&store, &options).unwrap();
    let busy = format!("process {} is recording into it", std::process::id());
    record(store.to_str().unwrap()).stderr(contains(busy));

    let short = [&TTI[..], &["--record", "x", "--record-interval", "1ms"]].concat();
    world.virtmark(&short).assert().code(2).stderr(contains("shorter than 10ms"));
    let alone = [&TTI[..], &["--record-interval", "1s"]].concat();
    world.virtmark(&alone).assert().code(2).stderr(contains("--record <STORE>"));
    world.assert_clean();
}
