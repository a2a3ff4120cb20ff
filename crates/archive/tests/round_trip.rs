//! What goes in comes out: through the tables, and through the two formats that read back.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{any_sample, new_archive, run, success};
use jiff::Timestamp;
use proptest::prelude::*;
use virtmark_archive::{Archive, Error, Format, ImportFormat, RunFilter, RunState, SampleCounts};
use virtmark_model::{Environment, Outcome, RunStatus, Sample};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_samples_read_back_from_the_tables_and_from_their_exports(
        mut samples in prop::collection::vec(any_sample(), 0..8),
        gaps in prop::collection::vec(1u64..1000, 8),
        nanosecond in 0i32..1_000_000_000,
        load in prop::num::f64::NORMAL,
    ) {
        let mut seq = 0;
        for (sample, gap) in samples.iter_mut().zip(gaps) {
            sample.seq = seq;
            seq += gap;
        }
        let (directory, archive) = new_archive();
        let mut run = run(0);
        run.started_at = Timestamp::new(run.started_at.as_second(), nanosecond).unwrap();
        run.environment.host.load_average_1m = Some(load);
        let mut writer = archive.begin(&run).unwrap();
        for sample in &samples {
            writer.record(sample).unwrap();
        }
        let stored = archive.run(run.id.as_str()).unwrap();
        prop_assert_eq!(&stored.run, &run);
        prop_assert_eq!(&archive.samples(&run.id).unwrap(), &samples);

        for (format, import_format) in [(Format::Json, ImportFormat::Json), (Format::Jsonl, ImportFormat::Jsonl)] {
            let mut text = Vec::new();
            archive.export(&run.id, format, &mut text).unwrap();
            let mut other = Archive::open(directory.path().join(format!("{format}.sqlite"))).unwrap();
            prop_assert_eq!(&other.import(import_format, text.as_slice()).unwrap(), &run.id);
            let imported = other.run("latest").unwrap();
            prop_assert_eq!(&imported.run, &run);
            prop_assert_eq!(imported.samples, stored.samples);
            prop_assert_eq!(&other.samples(&run.id).unwrap(), &samples);
        }
    }
}

#[test]
fn a_run_that_ends_keeps_its_end_and_its_last_environment() {
    let (_directory, archive) = new_archive();
    let writer = archive.begin(&run(0)).unwrap();
    let mut environment = Environment::default();
    environment.host.kernel = "6.1".into();
    writer.update_environment(&environment).unwrap();
    let stored = archive.run("latest").unwrap();
    assert_eq!((stored.state, &stored.run.environment), (RunState::Running, &environment));

    environment.steal_ns = Some(7);
    let finished_at: Timestamp = "2026-01-02T04:00:00.000000001Z".parse().unwrap();
    writer.finish(RunStatus::Interrupted, finished_at, &environment).unwrap();
    let stored = archive.run("tti-").unwrap();
    assert_eq!(stored.state, RunState::Interrupted);
    assert_eq!(stored.run.status, RunStatus::Interrupted);
    assert_eq!(stored.run.finished_at, Some(finished_at));
    assert_eq!(stored.run.environment, environment);
}

#[test]
fn runs_are_listed_newest_first_with_their_counts() {
    let (_directory, archive) = new_archive();
    for second in [5, 1, 9] {
        let mut run = run(second);
        run.scenario = if second == 1 { "restore".into() } else { "tti".into() };
        let mut writer = archive.begin(&run).unwrap();
        for seq in 0..second.unsigned_abs() {
            writer.record(&success(seq, 1.0)).unwrap();
        }
        writer
            .record(&Sample {
                outcome: Outcome::Skipped { reason: "no snapshots".into() },
                ..success(50, 0.0)
            })
            .unwrap();
        writer.finish(RunStatus::Complete, run.started_at, &run.environment).unwrap();
    }
    let list = |filter: RunFilter| {
        let runs = archive.runs(&filter).unwrap();
        runs.into_iter().map(|stored| (stored.run.id, stored.samples)).collect::<Vec<_>>()
    };
    let expected = [9, 5, 1]
        .map(|second| (run(second).id, SampleCounts { successes: second as u64, failures: 0, skips: 1 }));
    assert_eq!(list(RunFilter::default()), expected);
    assert_eq!(list(RunFilter { limit: Some(1), ..Default::default() }), expected[..1]);
    assert_eq!(list(RunFilter { scenario: Some("restore".into()), ..Default::default() }), expected[2..]);
    assert_eq!(list(RunFilter { since: Some(run(5).started_at), ..Default::default() }), expected[..2]);
    assert_eq!(archive.run("latest").unwrap().run.id, expected[0].0);
}

#[test]
fn what_is_no_measurement_is_refused_and_the_run_goes_on() {
    let (_directory, archive) = new_archive();
    let run = run(0);
    let mut writer = archive.begin(&run).unwrap();
    assert!(matches!(archive.begin(&run), Err(Error::RunExists { .. })));
    writer.record(&success(3, 1.0)).unwrap();
    for refused in [
        success(3, 1.0),
        success(2, 1.0),
        success(4, f64::NAN),
        success(4, f64::INFINITY),
        Sample { started_ns: u64::MAX, ..success(4, 1.0) },
    ] {
        assert!(matches!(writer.record(&refused), Err(Error::Invalid { .. })), "{refused:?}");
    }
    writer.record(&success(4, 2.0)).unwrap();
    assert_eq!(archive.samples(&run.id).unwrap(), [success(3, 1.0), success(4, 2.0)]);
    let end = writer.finish(RunStatus::Running, run.started_at, &run.environment);
    assert!(matches!(end, Err(Error::Invalid { .. })));
}

#[test]
fn a_run_is_removed_with_its_samples_but_not_from_under_its_writer() {
    let (_directory, archive) = new_archive();
    let run = run(0);
    let mut writer = archive.begin(&run).unwrap();
    writer.record(&success(0, 1.0)).unwrap();
    let refused = archive.remove(&run.id).unwrap_err();
    assert!(matches!(refused, Error::RunInProgress { pid, .. } if pid == std::process::id()), "{refused}");
    writer.finish(RunStatus::Complete, run.started_at, &run.environment).unwrap();
    archive.remove(&run.id).unwrap();
    assert_eq!(archive.samples(&run.id).unwrap(), []);
    assert!(matches!(archive.run("latest"), Err(Error::NoRuns { .. })));
    assert!(matches!(archive.remove(&run.id), Err(Error::UnknownRun { .. })));
}

#[test]
fn runs_are_added_all_or_none() {
    let (_directory, mut archive) = new_archive();
    let (first, second) = (run(0), run(1));
    let samples = vec![success(0, 1.0), success(1, 2.0)];
    archive.add(&[(first.clone(), samples.clone())]).unwrap();
    assert_eq!(archive.samples(&first.id).unwrap(), samples);
    let error = archive.add(&[(second.clone(), samples.clone()), (first, samples)]).unwrap_err();
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
    assert!(archive.run(second.id.as_str()).is_err());
}

#[test]
fn an_import_is_whole_or_nothing() {
    let (_directory, mut archive) = new_archive();
    let source = run(0);
    let run_line = |version: u32| {
        let mut line = serde_json::to_value(&source).unwrap();
        line["type"] = "run".into();
        line["format_version"] = version.into();
        line.to_string()
    };
    let mut sample_line = serde_json::to_value(success(0, 1.0)).unwrap();
    sample_line["type"] = "sample".into();
    let cases = [
        (String::new(), 1),
        (sample_line.to_string(), 1),
        (run_line(2), 1),
        (format!("{}\n{}", run_line(1), run_line(1)), 2),
        (format!("{}\n{sample_line}\n{{\"type\":\"samp", run_line(1)), 3),
    ];
    for (text, expected) in cases {
        let error = archive.import(ImportFormat::Jsonl, text.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Import { line, .. } if line == expected), "{text}: {error}");
        assert_eq!(archive.runs(&RunFilter::default()).unwrap(), []);
    }
    let whole = format!("{}\n{sample_line}\n", run_line(1));
    archive.import(ImportFormat::Jsonl, whole.as_bytes()).unwrap();
    // Its process is on another machine, for all that is known here.
    assert_eq!(archive.run("latest").unwrap().state, RunState::Unknown);
    let twice = archive.import(ImportFormat::Jsonl, whole.as_bytes());
    assert!(matches!(twice, Err(Error::RunExists { .. })));
}
