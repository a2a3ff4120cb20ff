//! A made-up suite for tests and for looking at the layout. Nothing in it was measured.

use virtmark_model::{FailureClass, HypervisorFacts, Sample};
use virtmark_report::overview::Suite;
use virtmark_report::{ExtraColumn, Overhead, RunSamples};
use virtmark_suite::StepReport;

use super::synthetic::{failure, kvm, run, tcg, timed_samples, tti_samples};

/// A made-up suite with everything that a report has a part for: two platforms, overheads, migrations, a failed step.
pub(crate) fn suite() -> (Vec<RunSamples>, Suite) {
    let mut native = HypervisorFacts { name: "native".into(), ..HypervisorFacts::default() };
    native.version = "1-synthetic".into();
    let fast = [("prepare", 1e6), ("spawn", 4e6), ("exec", 2e6)];
    let moved = |size_mb: u64, load: &str, seed: u64| {
        let metric = format!("migration_duration_{size_mb}mb_{load}");
        let typical = [("setup", 20e6), ("copy", 900e3 * size_mb as f64), ("stop", 40e6)];
        let mut samples = timed_samples(&metric, &typical, seed, 5);
        for sample in &mut samples {
            let labels = [("memory_mb", size_mb.to_string()), ("load", load.to_owned())];
            sample.labels.extend(labels.map(|(name, value)| (name.to_owned(), value)));
        }
        samples
    };
    let mut moves: Vec<Sample> =
        [(1024, "none"), (2048, "none"), (4096, "none"), (1024, "stress"), (2048, "stress")]
            .into_iter()
            .zip(1u64..)
            .flat_map(|((size_mb, load), seed)| moved(size_mb, load, seed))
            .collect();
    let mut lost =
        failure(0, "migration_duration_2048mb_stress", FailureClass::Timeout, "it does not converge");
    lost.labels = moves.last().map(|last| last.labels.clone()).unwrap_or_default();
    moves.push(lost);
    for (seq, sample) in (0..).zip(&mut moves) {
        sample.seq = seq;
    }
    let overhead = |name: &str, percent: f64, grade: &str| Overhead {
        name: name.into(),
        percent,
        interval: Some((percent - 0.6, percent + 0.8)),
        grade: grade.into(),
    };
    let mut guest = RunSamples::new(run("guest", 3, kvm()), Vec::new());
    guest.overheads = vec![
        overhead("CPU", 2.1, "on target (<3 %)"),
        overhead("memory", 9.3, "needs optimisation (≥8 %)"),
        overhead("storage", -0.4, "on target (<2 %)"),
        overhead("network", 4.2, "acceptable (<5 %)"),
    ];
    let mut lifecycle = RunSamples::new(
        run("lifecycle", 4, kvm()),
        timed_samples("vm_startup", &[("spawn", 45e6), ("kernel", 12_000e6), ("init", 240e6)], 9, 8),
    );
    let target = [("vm_startup".to_owned(), "misses target (<10 s)".to_owned())];
    lifecycle.extra.push(ExtraColumn { title: "guide's target".into(), by_metric: target.into() });
    let mut runs = vec![
        RunSamples::new(run("tti", 0, native), timed_samples("tti", &fast, 5, 30)),
        RunSamples::new(run("tti", 1, tcg()), tti_samples(6, 12)),
        RunSamples::new(
            run("tti", 2, kvm()),
            timed_samples("tti", &[("spawn", 45e6), ("kernel", 90e6)], 7, 12),
        ),
        guest,
        lifecycle,
        RunSamples::new(run("migrate", 5, kvm()), moves),
    ];
    let id = "suite-20260102-030405-a1b2c3";
    let mut steps = Vec::new();
    for (step, of) in (1u32..).zip(&mut runs) {
        let label = format!("{} {step}", of.run.scenario);
        of.run.configuration["suite"] = serde_json::json!({"id": id, "step": step, "label": label});
        steps.push(StepReport {
            step,
            repetition: 1,
            label,
            exit: Some(0),
            run_id: Some(of.run.id.to_string()),
            duration_ns: Some(u64::from(step) * 7_300_000_000),
            message: None,
        });
    }
    steps.push(StepReport {
        step: 7,
        repetition: 1,
        label: "broken".into(),
        exit: Some(10),
        run_id: None,
        duration_ns: Some(1_200_000),
        message: Some("cannot run /nonexistent/<qemu>: no such program".into()),
    });
    let suite = Suite {
        id: id.into(),
        name: "synthetic".into(),
        steps,
        left: 1,
        remarks: vec!["It was made in 2 parts.".into()],
        go_on: Some(format!("virtmark suite run synthetic.toml --resume {id}")),
        file: "synthetic.toml".into(),
        text: "[suite]\nname = \"synthetic\"\n\n[[step]]\nrun = \"tti\"\n".into(),
    };
    (runs, suite)
}
