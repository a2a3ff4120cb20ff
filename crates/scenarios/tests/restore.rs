//! The restore scenario on a platform without machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Fake, Fault, Noting, Watcher};
use virtmark_hypervisor::{Capability, Observer};
use virtmark_model::{FailureClass, Outcome, Sample};
use virtmark_scenarios::pace::{Arrivals, Mode, Pace};
use virtmark_scenarios::restore::{Restore, RestoreFailures, RestorePlan, RestoreReport};
use virtmark_scenarios::{Blockwise, Context, Ending};

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn plan(pace: Pace) -> RestorePlan {
    RestorePlan {
        pace,
        timeout: Duration::from_secs(5),
        working_set_bytes: 1 << 20,
        working_set_iterations: 0,
    }
}

fn measure(fake: &Fake, watcher: &Watcher, plan: RestorePlan) -> (Ending, Vec<Sample>, RestoreReport) {
    measure_observed(fake, watcher, None, plan)
}

fn measure_observed(
    fake: &Fake,
    watcher: &Watcher,
    observer: Option<&dyn Observer>,
    plan: RestorePlan,
) -> (Ending, Vec<Sample>, RestoreReport) {
    let scratch = tempfile::tempdir().unwrap();
    let run = common::run("restore", serde_json::to_value(&plan).unwrap(), fake);
    let mut samples = Vec::new();
    let context = Context {
        hypervisor: fake,
        sink: &mut samples,
        progress: watcher,
        observer,
        interrupt: watcher,
        started: Instant::now(),
    };
    let restore = Restore { plan, machine: common::spec(), scratch: scratch.path().into() };
    let ending = restore.run(context).unwrap();
    assert_eq!(fake.alive(), 0, "machines are left");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "a snapshot is left");
    let report = RestoreReport::from_samples(&run, &samples).unwrap();
    (ending, samples, report)
}

fn named<'a>(samples: &'a [Sample], metric: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| sample.metric == metric).collect()
}

#[test]
fn a_restore_is_timed_alone_and_with_the_command_that_sees_the_change() {
    let fake = Fake::new().destroy(Duration::from_millis(100));
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Pace::sequential(count(3), 1)));
    assert_eq!(ending, Ending::Complete);
    assert_eq!(samples.len(), 3 * 4);
    for (only, tti) in named(&samples, "restore_only").into_iter().zip(named(&samples, "restore_tti")) {
        let phases: Vec<_> = tti.phases.iter().map(|phase| phase.name.as_ref()).collect();
        assert_eq!(phases, ["load", "connect", "exec"]);
        assert_eq!(only.phases, tti.phases[..2]);
        assert_eq!(only.started_ns, tti.started_ns);
        assert!(only.outcome.value() < tti.outcome.value());
        assert!(tti.outcome.value().unwrap() < 1e8, "destroy was timed");
    }
    assert_eq!((report.iterations_success, report.iterations_failed), (3, 0));
    assert!(report.restore_only_max_ns < report.restore_tti_max_ns);
    assert_eq!(report.restored_pss_bytes.unwrap().p50_bytes, 30 << 20);
    assert_eq!(report.restored_private_bytes.unwrap().count, 3);
    assert_eq!(fake.shared.discarded.load(Ordering::SeqCst), 1);
}

#[test]
fn json_has_the_names_of_the_guide_and_all_four_classes() {
    let (_, _, report) = measure(&Fake::new(), &Watcher::new(), plan(Pace::sequential(count(1), 0)));
    let json = serde_json::to_value(&report).unwrap();
    for metric in ["restore_only", "restore_tti"] {
        for figure in ["min", "p50", "p95", "p99", "max"] {
            let name = format!("{metric}_{figure}_ns");
            assert!(json[&name].as_u64().is_some_and(|ns| ns > 0), "{name}: {}", json[&name]);
        }
    }
    let none = serde_json::json!({ "restore_api": 0, "sanity_exec": 0, "destroy": 0, "other": 0 });
    assert_eq!(json["failures"], none);
    for field in ["run_id", "scenario", "status", "emulated", "phases", "configuration", "environment"] {
        assert!(!json[field].is_null(), "{field}");
    }
    assert_eq!(serde_json::from_value::<RestoreReport>(json).unwrap(), report);
}

#[test]
fn failures_are_counted_by_the_step_that_they_came_in() {
    let fake = Fake::new()
        .fault("restore-0", Fault::Restore, common::silent)
        .fault("restore-1", Fault::Forget, common::silent)
        .fault("restore-2", Fault::Destroy, common::silent)
        .fault("restore-3", Fault::Exec, common::lost);
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Pace::sequential(count(5), 0)));
    assert_eq!(ending, Ending::Complete);
    let failures = RestoreFailures { restore_api: 1, sanity_exec: 2, destroy: 1, other: 0 };
    assert_eq!(report.failures, failures);
    assert_eq!((report.iterations_success, report.iterations_failed), (2, 3));
    assert_eq!(report.failure_classes.values().sum::<u64>(), 4);
    let forgot = named(&samples, "restore_tti")[1];
    assert_eq!(forgot.labels["failed_in"], "sanity_exec");
    assert!(matches!(forgot.outcome, Outcome::Failure { class: FailureClass::Other, .. }));
    // Its restore went well.
    assert_eq!(named(&samples, "restore_only").len(), 5);
    assert_eq!(report.restore_only_p50_ns.is_some(), report.restore_tti_p50_ns.is_some());
}

#[test]
fn without_a_fixture_there_is_nothing_to_restore() {
    for fault in [Fault::Create, Fault::Start, Fault::Snapshot, Fault::Exec] {
        let fake = Fake::new().fault("restore-fixture", fault, common::silent);
        let (ending, samples, report) = measure(&fake, &Watcher::new(), plan(Pace::sequential(count(5), 1)));
        assert!(matches!(ending, Ending::Stopped { class: FailureClass::GuestSilent, .. }), "{ending:?}");
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].labels["failed_in"], "fixture");
        assert_eq!(report.failures.other, 1);
        assert_eq!(report.restore_tti_p50_ns, None);
    }
}

#[test]
fn a_platform_that_cannot_restore_is_skipped_with_its_reason() {
    let fake = Fake::new().without([(Capability::Restore, "it has no state")]);
    let (ending, samples, _) = measure(&fake, &Watcher::new(), plan(Pace::sequential(count(5), 1)));
    assert_eq!(ending, Ending::Complete);
    let skip = Outcome::Skipped { reason: "it has no state".into() };
    assert!(samples.len() == 2 && samples.iter().all(|sample| sample.outcome == skip), "{samples:?}");
}

#[test]
fn the_working_set_is_read_warm_and_cold() {
    let fake = Fake::new();
    let plan = RestorePlan { working_set_iterations: 2, ..plan(Pace::sequential(count(1), 0)) };
    let (ending, samples, report) = measure(&fake, &Watcher::new(), plan);
    assert_eq!(ending, Ending::Complete);
    assert_eq!(fake.shared.cooled.load(Ordering::SeqCst), 2);
    let parts: Vec<usize> =
        fake.shared.files.lock().unwrap().values().map(Vec::len).filter(|length| *length > 1000).collect();
    assert_eq!(parts, [256 << 10; 4]);
    let shape: Vec<(&str, u32)> =
        report.working_set.iter().map(|figures| (figures.cache.as_str(), figures.percent)).collect();
    assert_eq!(shape, [("warm", 25), ("warm", 50), ("warm", 100), ("cold", 25), ("cold", 50), ("cold", 100)]);
    for figures in &report.working_set {
        assert_eq!(figures.working_set_bytes, Some(1 << 20));
        let (whole, reading) = (figures.from_request.as_ref().unwrap(), figures.reading.as_ref().unwrap());
        assert_eq!(whole.count, 2);
        assert!(reading.p50_ns < whole.p50_ns);
    }
    let all = named(&samples, "working_set_100_cold")[0];
    let phases: Vec<_> = all.phases.iter().map(|phase| phase.name.as_ref()).collect();
    assert_eq!(phases, ["load", "connect", "touch_25", "touch_50", "touch_100"]);
}

#[test]
fn a_cache_that_cannot_be_cooled_is_skipped_with_the_reason() {
    let absent = Fake::new().without([(Capability::CoolSnapshot, "it may not")]);
    let failing = Fake::new().fault("any", Fault::Cool, common::silent);
    for (fake, skipped) in [(absent, 1), (failing, 2)] {
        let plan = RestorePlan { working_set_iterations: 2, ..plan(Pace::sequential(count(1), 0)) };
        let (ending, _, report) = measure(&fake, &Watcher::new(), plan);
        assert_eq!(ending, Ending::Complete);
        let cold = report.working_set.iter().find(|figures| figures.cache == "cold").unwrap();
        assert_eq!((&cold.from_request, cold.skipped), (&None, skipped));
        assert!(cold.skip_reason.is_some());
        assert!(report.working_set[0].from_request.is_some());
    }
}

#[test]
fn an_interrupt_leaves_neither_machine_nor_snapshot() {
    for pace in [
        Pace::sequential(count(40), 0),
        Pace::burst(count(40), 0, count(4)),
        Pace::staggered(count(40), 0, count(4), Duration::from_millis(2)),
    ] {
        let (ending, samples, report) = measure(&Fake::new(), &Watcher::stopping_after(5), plan(pace));
        assert_eq!(ending, Ending::Interrupted);
        assert!((5..40).contains(&samples.len()), "{}", samples.len());
        assert_eq!(report.iterations_failed, 0);
    }
    let (ending, samples, _) =
        measure(&Fake::new(), &Watcher::stopping_after(0), plan(Pace::sequential(count(1), 0)));
    assert_eq!((ending, samples.len()), (Ending::Interrupted, 0));
}

#[test]
fn a_burst_restores_all_at_once() {
    let fake = Fake::new().boot(Duration::from_millis(40));
    let pace = Pace::burst(count(6), 0, count(6));
    let (_, _, report) = measure(&fake, &Watcher::new(), plan(pace));
    assert_eq!(report.mode, Mode::Burst);
    assert_eq!(fake.shared.most_alive.load(Ordering::SeqCst), 6);
    let concurrent = report.concurrent.unwrap();
    assert_eq!(concurrent.ramp.len(), 6);
    assert_eq!(concurrent.wall_clock_ns, concurrent.ramp.iter().filter_map(|point| point.ready_ns).max());
}

#[test]
fn an_open_loop_restores_at_its_moments() {
    let arrivals = Arrivals { rate_per_second: 200.0, duration: Duration::from_millis(50) };
    let pace = Pace::open_loop(arrivals, 0, count(10)).unwrap();
    let (ending, samples, report) = measure(&Fake::new(), &Watcher::new(), plan(pace));
    assert_eq!(ending, Ending::Complete);
    let open = report.open_loop.unwrap();
    assert_eq!((open.launched, open.dropped), (10, 0));
    assert!(named(&samples, "restore_only").iter().all(|sample| sample.phases[0].name == "lag"));
}

#[test]
fn observers_hear_of_every_machine() {
    let noting = Noting::default();
    let plan = RestorePlan { working_set_iterations: 1, ..plan(Pace::sequential(count(1), 1)) };
    measure_observed(&Fake::new(), &Watcher::new(), Some(&noting), plan);
    for name in ["restore-fixture", "warmup-0", "restore-0", "working-set-warm-0", "working-set-cold-0"] {
        let heard: Vec<_> = noting.of(name).into_iter().map(|(what, _)| what).collect();
        assert_eq!(heard, ["created", "running", "ending"], "{name}");
    }
}
