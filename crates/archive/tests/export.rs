//! The four formats, against files under `tests/golden` (written anew when `UPDATE_GOLDEN` is set).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use common::{new_archive, run, success};
use virtmark_archive::{Archive, Error, Format};
use virtmark_model::{FailureClass, Outcome, Phase, Run, RunStatus, Sample, Unit};

fn recorded(archive: &Archive) -> Run {
    let run = run(0);
    let mut writer = archive.begin(&run).unwrap();
    let phase =
        |name: &'static str, start_ns, duration_ns| Phase { name: name.into(), start_ns, duration_ns };
    let samples = [
        Sample {
            phases: vec![phase("spawn", 0, 12_000_000), phase("a;b=c", 12_000_000, 800_345_678)],
            labels: BTreeMap::from([("block".into(), "1".into()), ("machine".into(), "m|0".into())]),
            ..success(0, 812_345_678.0)
        },
        Sample {
            outcome: Outcome::Failure {
                class: FailureClass::GuestSilent,
                message: "no answer in 90 s;\nit said \"panic, or so\" | <end>".into(),
            },
            phases: vec![phase("spawn", 0, 11_000_000)],
            ..success(1, 0.0)
        },
        Sample {
            metric: "restore".into(),
            outcome: Outcome::Skipped { reason: "native has no snapshots".into() },
            ..success(2, 0.0)
        },
        Sample { metric: "bytes_written".into(), unit: Unit::Bytes, ..success(3, 1e21) },
        Sample { metric: "overhead".into(), unit: Unit::Ratio, ..success(4, 0.1) },
    ];
    for sample in &samples {
        writer.record(sample).unwrap();
    }
    let finished_at = "2026-01-02T03:05:00.25Z".parse().unwrap();
    writer.finish(RunStatus::Complete, finished_at, &run.environment).unwrap();
    run
}

#[test]
fn exports_are_as_documented() {
    let (_directory, archive) = new_archive();
    let run = recorded(&archive);
    for format in Format::ALL {
        let mut output = Vec::new();
        archive.export(&run.id, format, &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("run.{format}"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &output).unwrap();
        }
        assert_eq!(output, std::fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
}

#[test]
fn a_run_without_samples_is_whole_in_every_format() {
    let (_directory, archive) = new_archive();
    let run = run(0);
    archive.begin(&run).unwrap();
    let mut json = Vec::new();
    archive.export(&run.id, Format::Json, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["samples"], serde_json::json!([]));
    assert_eq!(json["run"]["state"], "running");
    let mut csv = Vec::new();
    archive.export(&run.id, Format::Csv, &mut csv).unwrap();
    assert_eq!(csv.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn a_closed_pipe_is_told_by_its_kind() {
    let (_directory, archive) = new_archive();
    let run = recorded(&archive);
    let (reader, mut writer) = io::pipe().unwrap();
    drop(reader);
    let error = archive.export(&run.id, Format::Csv, &mut writer).unwrap_err();
    assert!(matches!(error, Error::Output { source, .. } if source.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn formats_go_by_their_names() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse::<Format>().unwrap(), format);
    }
    assert!("xml".parse::<Format>().is_err());
}
