//! The TTI report against a naive model, and through the archive.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;

use common::Fake;
use proptest::prelude::*;
use virtmark_archive::Archive;
use virtmark_model::{FailureClass, Outcome, Phase, Sample, Unit};
use virtmark_scenarios::tti::TtiReport;

/// One machine as the property draws it: launch, its phases, whether it failed.
type Drawn = (u32, Vec<u32>, bool);

fn samples(drawn: &[Drawn]) -> Vec<Sample> {
    const NAMES: [&str; 6] = ["prepare", "spawn", "firmware_kernel", "init", "connect", "exec"];
    let sample = |(seq, (launched, durations, failed)): (usize, &Drawn)| {
        let mut start_ns = 0;
        let mut phases = Vec::new();
        for (name, duration) in NAMES.into_iter().zip(durations) {
            let duration_ns = u64::from(*duration);
            phases.push(Phase { name: name.into(), start_ns, duration_ns });
            start_ns += duration_ns;
        }
        let outcome = if *failed {
            Outcome::Failure { class: FailureClass::GuestSilent, message: "silent".into() }
        } else {
            Outcome::Success { value: start_ns as f64 }
        };
        let mut labels = BTreeMap::from([
            ("machine".into(), format!("tti-{seq}")),
            ("wave".into(), (seq / 4).to_string()),
        ]);
        if !failed {
            labels.insert("exit_code".into(), (seq % 2).to_string());
        }
        let (metric, started_ns) = ("tti".into(), u64::from(*launched));
        Sample { seq: seq as u64, metric, unit: Unit::Ns, started_ns, outcome, phases, labels }
    };
    drawn.iter().enumerate().map(sample).collect()
}

fn configuration(iterations: usize) -> serde_json::Value {
    serde_json::json!({
        "iterations": iterations, "warmup": 0, "command": "true", "timeout_ns": 1, "mode": "burst", "concurrency": 4,
        "stagger_ns": 0, "command_line": ["virtmark"],
    })
}

fn naive_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    (!sorted.is_empty()).then(|| sorted[(percent * sorted.len()).div_ceil(100).max(1) - 1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn figures_agree_with_a_naive_model(
        drawn in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u32>(), 6), any::<bool>()), 1..40)
    ) {
        let samples = samples(&drawn);
        let run = common::run("tti", configuration(drawn.len()), &Fake::new());
        let report = TtiReport::from_samples(&run, &samples).unwrap();

        let mut totals: Vec<u64> = drawn
            .iter()
            .filter(|machine| !machine.2)
            .map(|machine| machine.1.iter().map(|duration| u64::from(*duration)).sum())
            .collect();
        totals.sort_unstable();
        prop_assert_eq!(report.iterations_requested, drawn.len() as u64);
        prop_assert_eq!(report.iterations_success, totals.len() as u64);
        prop_assert_eq!(report.iterations_failed, (drawn.len() - totals.len()) as u64);
        prop_assert_eq!(report.min_ns, totals.first().copied());
        prop_assert_eq!(report.p50_ns, naive_rank(&totals, 50));
        prop_assert_eq!(report.p95_ns, naive_rank(&totals, 95));
        prop_assert_eq!(report.p99_ns, naive_rank(&totals, 99));
        prop_assert_eq!(report.max_ns, totals.last().copied());
        prop_assert_eq!(report.exit_codes.values().sum::<u64>(), totals.len() as u64);

        if totals.is_empty() {
            prop_assert!(report.phases.is_empty());
        } else {
            let mean: u64 = report.phases.iter().map(|phase| phase.figures.mean_ns).sum();
            prop_assert!(mean.abs_diff(report.mean_ns.unwrap()) <= 6);
            for (position, phase) in report.phases.iter().enumerate() {
                let mut times: Vec<u64> = drawn
                    .iter()
                    .filter(|machine| !machine.2)
                    .map(|machine| u64::from(machine.1[position]))
                    .collect();
                times.sort_unstable();
                prop_assert_eq!(phase.figures.p50_ns, naive_rank(&times, 50).unwrap());
                prop_assert_eq!(phase.figures.max_ns, *times.last().unwrap());
            }
        }

        let concurrent = report.concurrent.unwrap();
        let mut wall = 0;
        for wave in drawn.chunks(4) {
            let first = wave.iter().map(|machine| u64::from(machine.0)).min().unwrap();
            let ready = wave.iter().filter(|machine| !machine.2).map(|machine| {
                u64::from(machine.0) - first + machine.1.iter().map(|duration| u64::from(*duration)).sum::<u64>()
            });
            wall += ready.max().unwrap_or(0);
        }
        prop_assert_eq!(concurrent.wall_clock_ns.unwrap_or(0), wall);
        prop_assert_eq!(concurrent.wall_clock_ns.is_some(), !totals.is_empty());
        prop_assert_eq!(concurrent.ramp.len(), drawn.len());
    }
}

#[test]
fn stored_samples_give_the_same_report() {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(directory.path().join("archive.sqlite")).unwrap();
    let drawn: Vec<Drawn> =
        (0..25).map(|n: u32| (n * 7919, vec![n * 31 + 1, 5, 999_999_937, n, 3, 1], n % 9 == 4)).collect();
    let samples = samples(&drawn);
    let run = common::run("tti", configuration(25), &Fake::new());
    let mut writer = archive.begin(&run).unwrap();
    for sample in &samples {
        writer.record(sample).unwrap();
    }
    writer.finish(run.status, run.started_at, &run.environment).unwrap();

    let stored = archive.run("latest").unwrap().run;
    let read = archive.samples(&run.id).unwrap();
    let direct = TtiReport::from_samples(&run, &samples).unwrap();
    let recomputed = TtiReport::from_samples(&stored, &read).unwrap();
    assert_eq!(recomputed, direct);

    let text = serde_json::to_string(&direct).unwrap();
    assert_eq!(serde_json::from_str::<TtiReport>(&text).unwrap(), direct);
}
