//! Rows of a sweep: one of each kind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, json};
use virtmark_scenarios::sweep::Row;

/// The example table of the guide to performance testing in a resource-capped machine, as its tool writes it.
pub(crate) const GUIDE: &str = include_str!("../sweep/guide.csv");

pub(crate) fn started() -> Timestamp {
    "2026-01-25T12:00:00Z".parse().unwrap()
}

/// A whole row of a closed loop.
pub(crate) fn row() -> Row {
    Row {
        ts: Some(started()),
        plan: "concat_plan".into(),
        vcpus: Some(4),
        cpu_threads: Some(4),
        io_threads: Some(8),
        asynchronous: Some(true),
        concurrency: Some(16),
        duration_sec: Some(10.0),
        run_idx: Some(1),
        qps: Some(12_500.25),
        p50_ns: Some(1_200_345),
        p90_ns: Some(2_000_000),
        p99_ns: Some(5_000_120),
        max_ns: Some(9_000_001),
        ru_maxrss_kib: Some(20_480),
        exit_code: Some(0),
        timeout_killed: Some(false),
        elapsed_sec: Some(10.0),
        completed: Some(125_002),
        errors: Some(BTreeMap::new()),
        ru_maxrss_of: Some("the target's process".into()),
        ..Row::default()
    }
}

/// A run that was killed: nothing of it was measured.
pub(crate) fn killed() -> Row {
    Row {
        ts: Some(started()),
        plan: "/bin/echo \"a, b\"\nc".into(),
        concurrency: Some(128),
        run_idx: Some(2),
        exit_code: Some(137),
        timeout_killed: Some(true),
        ..Row::default()
    }
}

/// A run of an open loop, with everything that only JSON has.
pub(crate) fn open_loop() -> Row {
    Row {
        concurrency: None,
        asynchronous: None,
        rate: Some(500.0),
        errors: Some(BTreeMap::from([("refused".into(), 7), ("timeout".into(), 3)])),
        error_messages: BTreeMap::from([("refused".into(), "connection refused".into())]),
        dropped: Some(12),
        late: Some(4),
        lag_p50_ns: Some(900),
        lag_p99_ns: Some(45_000),
        lag_max_ns: Some(2_000_000),
        platform: Some("qemu 7.2.0, tcg (software emulation)".into()),
        emulated: Some(true),
        warnings: vec!["6 virtual CPUs on a host that has 2".into()],
        histogram: Some("HISTFAAAAB542pNpmSzMwMDAxAABzFCaEUoz2X+AMQBDPwLN".into()),
        details: Map::from_iter([("generator_cpu_ns".into(), json!(1_234))]),
        settings: Map::from_iter([("runs".into(), json!(1))]),
        ..row()
    }
}
