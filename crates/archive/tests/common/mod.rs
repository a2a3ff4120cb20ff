//! What several tests need: a run, a sample, any sample.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;
use virtmark_archive::{Archive, OpenOptions};
use virtmark_model::{
    Accelerator, Environment, FailureClass, Outcome, Phase, Run, RunId, RunStatus, Sample, Unit,
};

/// A new archive, in a directory that goes with it.
pub(crate) fn new_archive() -> (TempDir, Archive) {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(directory.path().join("archive.sqlite")).unwrap();
    (directory, archive)
}

/// Gives up on locks soon.
pub(crate) fn impatient() -> OpenOptions {
    OpenOptions::default().busy_timeout(std::time::Duration::from_millis(150))
}

/// A run of scenario `tti` that starts `second` seconds after a fixed moment.
pub(crate) fn run(second: i64) -> Run {
    let started_at = Timestamp::from_second(1_767_323_045 + second).unwrap();
    let mut environment = Environment::default();
    environment.host.cpu_model = "Example | CPU".into();
    environment.host.cpu_flags = vec!["fpu".into(), "svm".into()];
    environment.host.load_average_1m = Some(0.1);
    environment.hypervisor.name = "qemu".into();
    environment.hypervisor.accelerator = Some(Accelerator::Tcg);
    Run {
        id: RunId::new("tti", started_at, 0xa1_b2c3),
        scenario: "tti".into(),
        started_at,
        finished_at: None,
        status: RunStatus::Running,
        configuration: serde_json::json!({"command": "echo ok", "iterations": 3}),
        environment,
    }
}

/// A success of metric `tti`.
pub(crate) fn success(seq: u64, value: f64) -> Sample {
    Sample {
        seq,
        metric: "tti".into(),
        unit: Unit::Ns,
        started_ns: seq * 1000,
        outcome: Outcome::Success { value },
        phases: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// Any sample, numbered 0.
pub(crate) fn any_sample() -> impl Strategy<Value = Sample> {
    let text = "[a-z \"'|,;=\\\\\n\u{0}é]{0,12}";
    let class = prop::sample::select(FailureClass::ALL.to_vec());
    // Integers as clocks give them, and anything else that is finite.
    let value = prop_oneof![(0u64..1 << 53).prop_map(|value| value as f64), prop::num::f64::NORMAL];
    let outcome = prop_oneof![
        (class, text).prop_map(|(class, message)| Outcome::Failure { class, message }),
        text.prop_map(|reason| Outcome::Skipped { reason }),
        value.prop_map(|value| Outcome::Success { value }),
    ];
    let unit = prop::sample::select(Unit::ALL.to_vec());
    let phase = (text, any::<u64>(), any::<u64>()).prop_map(|(name, start_ns, duration_ns)| Phase {
        name: name.into(),
        start_ns,
        duration_ns,
    });
    let phases = prop::collection::vec(phase, 0..4);
    let labels = prop::collection::btree_map(text, text, 0..4);
    (text, unit, 0..=u64::MAX >> 1, outcome, phases, labels).prop_map(
        |(metric, unit, started_ns, outcome, phases, labels)| Sample {
            seq: 0,
            metric,
            unit,
            started_ns,
            outcome,
            phases,
            labels,
        },
    )
}
