//! What scenarios say beyond metrics, on a terminal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "synthetic/mod.rs"]
mod synthetic;

use std::collections::BTreeMap;

use virtmark_model::{FailureClass, Phase, Sample, Unit};
use virtmark_report::{RunSamples, Style, sections, terminal};
use virtmark_scenarios::restore::RestoreReport;
use virtmark_scenarios::tti::TtiReport;

fn renumbered(mut samples: Vec<Sample>) -> Vec<Sample> {
    for (seq, sample) in samples.iter_mut().enumerate() {
        sample.seq = seq as u64;
    }
    samples
}

fn restore_run() -> (RunSamples, RestoreReport) {
    let restore = [("load", 60e6), ("connect", 20e6), ("exec", 15e6)];
    let read = [("load", 60e6), ("connect", 20e6), ("touch_25", 4e6), ("touch_50", 4e6), ("touch_100", 8e6)];
    let mut samples = synthetic::timed_samples("restore_only", &restore[..2], 5, 30);
    samples.extend(synthetic::timed_samples("restore_tti", &restore, 5, 30));
    for (share, phases) in [("25", 3), ("50", 4), ("100", 5)] {
        let mut warm = synthetic::timed_samples(&format!("working_set_{share}_warm"), &read[..phases], 6, 5);
        for sample in &mut warm {
            sample.labels.insert("working_set_bytes".into(), "67108864".into());
        }
        samples.extend(warm);
        samples.push(synthetic::skip(0, &format!("working_set_{share}_cold"), "the host keeps its cache"));
    }
    let mut lost = synthetic::failure(0, "restore_tti", FailureClass::AgentLost, "gone");
    lost.labels = BTreeMap::from([("failed_in".into(), "sanity_exec".into())]);
    samples.push(lost);
    let mut run = synthetic::run("restore", 0, synthetic::tcg());
    run.configuration = serde_json::json!({
        "iterations": 31, "warmup": 0, "mode": "sequential", "concurrency": 1, "stagger_ns": 0,
        "timeout_ns": 90_000_000_000_u64, "working_set_bytes": 67_108_864, "working_set_iterations": 5,
    });
    let samples = renumbered(samples);
    let report = RestoreReport::from_samples(&run, &samples).unwrap();
    let mut run = RunSamples::new(run, samples);
    run.tables = sections::of_restore(&report);
    (run, report)
}

#[test]
fn a_restore_run_says_its_failures_by_step_and_its_working_set() {
    let (run, report) = restore_run();
    assert_eq!(report.failures.sanity_exec, 1);
    assert_eq!(report.working_set.len(), 6);
    insta::assert_snapshot!(terminal::run_summary(&run, Style::default()).unwrap());
}

#[test]
fn an_open_loop_says_how_late_it_was_and_whether_it_stands() {
    let phases = [("lag", 20e6), ("prepare", 2e6), ("kernel", 900e6)];
    let mut samples = synthetic::timed_samples("tti", &phases, 7, 20);
    let mut dropped = synthetic::failure(20, "tti", FailureClass::Other, "no room");
    dropped.labels =
        BTreeMap::from([("dropped".into(), "true".into()), ("failed_in".into(), "launch".into())]);
    samples.push(dropped);
    let mut run = synthetic::run("tti", 0, synthetic::kvm());
    run.configuration = serde_json::json!({
        "iterations": 21, "warmup": 0, "mode": "open_loop", "concurrency": 8, "stagger_ns": 0,
        "rate_per_second": 2.0, "duration_ns": 10_500_000_000_u64, "command": "true", "timeout_ns": 1,
    });
    let report = TtiReport::from_samples(&run, &samples).unwrap();
    let open = report.open_loop.as_ref().unwrap();
    assert_eq!((open.launched, open.dropped, open.valid), (20, 1, false));
    let tables = sections::of_tti(&report);
    assert_eq!(tables.len(), 1);
    insta::assert_snapshot!(tables[0].render(Style::default()));

    // A lag of a thousandth stands.
    for sample in &mut samples {
        if let Some(Phase { duration_ns, .. }) = sample.phases.first_mut() {
            *duration_ns /= 20;
        }
        assert_eq!(sample.unit, Unit::Ns);
    }
    let report = TtiReport::from_samples(&run, &samples).unwrap();
    assert!(report.open_loop.unwrap().valid);
}
