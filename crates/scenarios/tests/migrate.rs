//! The migration scenario: what it says of stored samples, and of a platform that cannot move machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Instant;

use common::{Fake, Watcher};
use virtmark_hypervisor::{Capability, MigrationChannel, MigrationMode};
use virtmark_model::{FailureClass, Outcome, Sample, Unit};
use virtmark_scenarios::Verdict;
use virtmark_scenarios::migrate::{LeftOut, Load, Migrate, MigratePlan, MigrateReport};
use virtmark_scenarios::{Context, Ending};

fn plan() -> MigratePlan {
    MigratePlan {
        sizes_mb: vec![256, 1024],
        left_out: vec![LeftOut { size_mb: 16_384, reason: "no room".into() }],
        loads: vec![Load::None, Load::Dirty { bytes_per_second: 50 << 20 }],
        dirty_over_bytes: None,
        iterations: NonZeroU32::MIN,
        mode: MigrationMode::PreCopy,
        channel: MigrationChannel::Unix,
        max_bandwidth_bytes: Some(1 << 30),
        downtime_limit_ms: None,
        timeout_ns: 1_000_000_000,
        settle_ns: 0,
    }
}

fn sample(metric: &str, outcome: Outcome, labels: &[(&str, &str)]) -> Sample {
    let fixed = [("memory_mb", "1024"), ("load", "none"), ("mode", "pre-copy"), ("channel", "unix")];
    let labels = fixed.iter().chain(labels).map(|(name, value)| ((*name).into(), (*value).into()));
    Sample {
        seq: 0,
        metric: metric.into(),
        unit: Unit::Ns,
        started_ns: 0,
        outcome,
        phases: Vec::new(),
        labels: labels.collect::<BTreeMap<_, _>>(),
    }
}

#[test]
fn the_report_has_the_guides_names_and_what_failed_is_in_no_figure() {
    let moved = |ns: f64, outside_ns: &str| {
        let labels = [
            ("downtime_outside_ns", outside_ns),
            ("downtime_hypervisor_ms", "20"),
            ("guest_gap_ns", "3500000"),
            ("transferred_bytes", "250000000"),
            ("throughput_bytes_per_s", "125000000"),
            ("rounds", "3"),
            ("ticker_cpu_ns", "40"),
            ("ticker_elapsed_ns", "10000"),
        ];
        sample("migration_duration_1024mb_none", Outcome::Success { value: ns }, &labels)
    };
    let failed = Outcome::Failure { class: FailureClass::Timeout, message: "still ahead".into() };
    let skipped = Outcome::Skipped { reason: "no room".into() };
    let samples = [
        sample("migration_duration_16384mb", skipped, &[]),
        moved(2e9, "40000000"),
        sample("downtime_actual_1024mb_none", Outcome::Success { value: 4e7 }, &[]),
        moved(4e9, "150000000"),
        moved(3e9, "120000000"),
        sample("migration_duration_1024mb_none", failed, &[]),
    ];
    let fake = Fake::new();
    let run = common::run("migrate", serde_json::to_value(plan()).unwrap(), &fake);
    let report = MigrateReport::from_samples(&run, &samples).unwrap();
    let [cell] = &report.cells[..] else { panic!("{:?}", report.cells) };
    assert_eq!((cell.memory_mb, cell.attempts, cell.success_rate), (1024, 4, 0.75));
    assert_eq!(cell.migration_duration_ms.as_ref().unwrap().p50, 3000.0);
    assert_eq!(cell.downtime_actual_ms.as_ref().unwrap().p50, 120.0);
    assert_eq!(cell.downtime_hypervisor_ms.as_ref().unwrap().p50, 20.0);
    assert_eq!(cell.downtime_guest_ms.as_ref().unwrap().p50, 3.5);
    assert_eq!(cell.data_transferred_mb.as_ref().unwrap().p50, 250.0);
    assert_eq!(cell.transfer_rate_mbps.as_ref().unwrap().p50, 125.0);
    // Nothing counted is not zero.
    assert_eq!(cell.memory_dirty_rate_mbps, None);
    assert_eq!(cell.ticker_cpu_share, Some(0.004));
    assert_eq!((cell.failures[&FailureClass::Timeout], &cell.reasons[..]), (1, &["still ahead".into()][..]));
    let grade = &cell.grade;
    assert_eq!((grade.duration, grade.downtime, grade.rate), (Verdict::Met, Verdict::Missed, Verdict::Met));
    assert_eq!(report.left_out, ["no room"]);

    let mut csv = Vec::new();
    report.write_csv(&mut csv).unwrap();
    assert_eq!(
        String::from_utf8(csv).unwrap(),
        "source_hypervisor,target_hypervisor,memory,duration,downtime,transferred\n\
         qemu-tcg,qemu-tcg,1024,2000.000,40.000,250.000\n\
         qemu-tcg,qemu-tcg,1024,4000.000,150.000,250.000\n\
         qemu-tcg,qemu-tcg,1024,3000.000,120.000,250.000\n"
    );
    let json = serde_json::to_value(&report).unwrap();
    let names = [
        "migration_duration_ms",
        "downtime_actual_ms",
        "data_transferred_mb",
        "transfer_rate_mbps",
        "memory_dirty_rate_mbps",
    ];
    assert!(names.iter().all(|name| json["cells"][0].get(name).is_some()), "{json}");
    assert_eq!(serde_json::from_value::<MigrateReport>(json).unwrap(), report);
}

#[test]
fn a_platform_that_moves_nothing_is_skipped_with_its_reason() {
    let fake = Fake::new().without([(Capability::Migrate, "they stay where they are")]);
    let watcher = Watcher::new();
    let mut samples = Vec::new();
    let context = Context {
        hypervisor: &fake,
        sink: &mut samples,
        progress: &watcher,
        observer: None,
        interrupt: &watcher,
        started: Instant::now(),
    };
    let migrate = Migrate { plan: plan(), machine: common::spec() };
    assert_eq!(migrate.run(context).unwrap(), Ending::Complete);
    assert_eq!(fake.alive(), 0);
    let reasons: Vec<_> = samples
        .iter()
        .map(|sample| match &sample.outcome {
            Outcome::Skipped { reason } => (sample.metric.as_str(), reason.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    let stays = "they stay where they are";
    assert_eq!(
        reasons,
        [
            ("migration_duration_16384mb", "no room"),
            ("migration_duration_256mb", stays),
            ("migration_duration_1024mb", stays)
        ]
    );
}

/// What is on record is read again as it was.
#[test]
fn a_plan_survives_the_archive() {
    let value = serde_json::to_value(plan()).unwrap();
    assert_eq!(value["loads"], serde_json::json!(["none", "dirty=50M"]));
    assert_eq!(value["mode"], "pre-copy");
    assert_eq!(serde_json::from_value::<MigratePlan>(value).unwrap(), plan());
}
