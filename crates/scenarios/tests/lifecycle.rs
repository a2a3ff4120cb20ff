//! The lifecycle scenario on a platform without machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use common::{Fake, Fault, Noting, Watcher};
use virtmark_hypervisor::{Capability, Observer, StopMode};
use virtmark_model::{FailureClass, Outcome, Sample};
use virtmark_scenarios::Verdict;
use virtmark_scenarios::lifecycle::{Lifecycle, LifecyclePlan, LifecycleReport};
use virtmark_scenarios::{Blockwise, Context, Ending};

fn measure(
    fake: &Fake,
    watcher: &Watcher,
    iterations: u32,
    warmup: u32,
) -> (Ending, Vec<Sample>, LifecycleReport) {
    measure_observed(fake, watcher, None, iterations, warmup)
}

fn measure_observed(
    fake: &Fake,
    watcher: &Watcher,
    observer: Option<&dyn Observer>,
    iterations: u32,
    warmup: u32,
) -> (Ending, Vec<Sample>, LifecycleReport) {
    let scratch = tempfile::tempdir().unwrap();
    let plan = LifecyclePlan { iterations: NonZeroU32::new(iterations).unwrap(), warmup };
    let run = common::run("lifecycle", serde_json::to_value(&plan).unwrap(), fake);
    let mut samples = Vec::new();
    let context = Context {
        hypervisor: fake,
        sink: &mut samples,
        progress: watcher,
        observer,
        interrupt: watcher,
        started: Instant::now(),
    };
    let lifecycle = Lifecycle {
        plan,
        machine: common::spec(),
        scratch: scratch.path().into(),
        stop_deadline: Duration::from_secs(1),
    };
    let ending = lifecycle.run(context).unwrap();
    assert_eq!(fake.alive(), 0, "machines are left");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "snapshots are left");
    let report = LifecycleReport::from_samples(&run, &samples).unwrap();
    (ending, samples, report)
}

fn metrics(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| sample.metric.as_str()).collect()
}

const LIFE: [&str; 6] = ["vm_creation", "vm_startup", "snapshot", "restore", "vm_shutdown", "vm_destroy"];

#[test]
fn a_life_is_six_samples_whose_phases_add_up() {
    let fake = Fake::new();
    let (ending, samples, report) = measure(&fake, &Watcher::new(), 2, 1);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(metrics(&samples), [LIFE, LIFE].concat());
    for sample in &samples {
        let sum: u64 = sample.phases.iter().map(|phase| phase.duration_ns).sum();
        assert_eq!(sample.outcome.value(), Some(sum as f64));
    }
    assert_eq!(report.vm_startup_time_ms.samples.len(), 2);
    assert_eq!(report.vm_startup_time_ms.grade_text, "meets target (<10 s), emulated");
    assert_eq!(report.restore_time_ms.grade_text, "no target");
    assert!(matches!(fake.shared.stop_modes.lock().unwrap()[0], StopMode::Graceful { .. }));
}

#[test]
fn json_and_csv_have_the_names_of_the_guide() {
    let (_, _, report) = measure(&Fake::new(), &Watcher::new(), 1, 0);
    let json = serde_json::to_value(&report).unwrap();
    for field in [
        "vm_creation_time_ms",
        "vm_startup_time_ms",
        "vm_shutdown_time_ms",
        "vm_destroy_time_ms",
        "snapshot_time_ms",
        "restore_time_ms",
    ] {
        assert_eq!(json[field]["summary"]["count"], 1, "{field}");
        assert_eq!(json[field]["samples"].as_array().unwrap().len(), 1, "{field}");
    }
    let mut csv = Vec::new();
    report.write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("hypervisor,operation,milliseconds"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let operations: Vec<_> = rows.iter().map(|row| row[1]).collect();
    assert_eq!(operations, ["vm_create", "vm_start", "snapshot", "restore", "vm_stop", "vm_destroy"]);
    for row in rows {
        assert_eq!(row[0], "qemu-tcg");
        assert!(row[2].parse::<f64>().unwrap() >= 0.0);
    }
}

#[test]
fn what_the_platform_cannot_do_is_one_skip_with_its_reason() {
    let fake = Fake::new()
        .without([(Capability::Snapshot, "it keeps no state"), (Capability::GracefulStop, "nobody to ask")]);
    let (_, samples, report) = measure(&fake, &Watcher::new(), 3, 0);
    assert_eq!(samples.len(), 2 + 3 * 4);
    assert_eq!(report.snapshot_time_ms.skipped.as_deref(), Some("it keeps no state"));
    assert_eq!(report.restore_time_ms.skipped.as_deref(), Some("it keeps no state"));
    assert_eq!(report.snapshot_time_ms.summary, None);
    assert_eq!(report.snapshot_time_ms.grade.verdict, Verdict::NotMeasured);
    assert_eq!(report.snapshot_time_ms.grade_text, "skipped: it keeps no state");
    assert_eq!(*fake.shared.stop_modes.lock().unwrap(), [StopMode::Forced; 3]);
}

#[test]
fn a_failed_restore_costs_only_itself() {
    let fake = Fake::new().fault("lifecycle-0-restored", Fault::Restore, common::silent);
    let (ending, samples, report) = measure(&fake, &Watcher::new(), 1, 0);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(metrics(&samples), LIFE);
    assert_eq!(report.restore_time_ms.failures[&FailureClass::GuestSilent], 1);
    assert_eq!(report.restore_time_ms.summary, None);
    assert_eq!(report.vm_destroy_time_ms.samples.len(), 1);
}

#[test]
fn a_restored_machine_that_does_not_answer_was_not_restored() {
    let fake = Fake::new().fault("lifecycle-0-restored", Fault::Exec, common::silent);
    let (_, samples, _) = measure(&fake, &Watcher::new(), 1, 0);
    assert!(matches!(samples[3].outcome, Outcome::Failure { class: FailureClass::GuestSilent, .. }));
}

#[test]
fn a_guest_that_had_to_be_forced_did_not_stop() {
    let fake = Fake::new().fault("lifecycle-0", Fault::Force, common::silent);
    let (ending, samples, report) = measure(&fake, &Watcher::new(), 2, 0);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(metrics(&samples), [&LIFE[..5], &LIFE[..]].concat());
    assert_eq!(report.vm_shutdown_time_ms.failures[&FailureClass::Timeout], 1);
    assert_eq!(report.vm_shutdown_time_ms.samples.len(), 1);
}

#[test]
fn a_failed_start_ends_that_life_and_the_next_begins() {
    let fake = Fake::new().fault("lifecycle-0", Fault::Start, common::silent);
    let (ending, samples, _) = measure(&fake, &Watcher::new(), 2, 0);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(metrics(&samples), [&LIFE[..2], &LIFE[..]].concat());
}

#[test]
fn a_cause_that_stays_ends_the_run() {
    let fake = Fake::new().fault("lifecycle-0", Fault::Create, common::missing);
    let (ending, samples, _) = measure(&fake, &Watcher::new(), 5, 0);
    assert!(matches!(ending, Ending::Stopped { class: FailureClass::HypervisorMissing, .. }));
    assert_eq!(samples.len(), 1);
}

#[test]
fn an_interrupt_keeps_the_operations_measured() {
    let (ending, samples, _) = measure(&Fake::new(), &Watcher::stopping_after(3), 5, 0);
    assert_eq!(ending, Ending::Interrupted);
    assert_eq!(metrics(&samples), LIFE[..3]);
}

#[test]
fn observers_hear_of_every_machine_once_before_its_end_is_measured() {
    let fake = Fake::new().fault("lifecycle-1", Fault::Snapshot, common::silent);
    let noting = Noting::default();
    measure_observed(&fake, &Watcher::new(), Some(&noting), 2, 0);
    for name in ["lifecycle-0", "lifecycle-0-restored", "lifecycle-1"] {
        let heard: Vec<_> = noting.of(name).into_iter().map(|(what, _)| what).collect();
        assert_eq!(heard, ["created", "running", "ending"], "{name}");
    }
    assert_eq!(noting.of("lifecycle-1-restored"), []);
}
