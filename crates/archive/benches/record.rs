//! What it costs to have a sample on disk before the next one starts: `record`, beside the least that any durable
//! log can do (append a line, `fdatasync`) and beside the same insert without waiting for the disk.
//!
//! Figures depend on the disk: files are made under `$VIRTMARK_BENCH_DIR`, by default the temporary directory.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use virtmark_archive::Archive;
use virtmark_model::{Environment, Outcome, Phase, Run, RunId, RunStatus, Sample, Unit};

fn sample(seq: u64) -> Sample {
    let phases = ["spawn", "firmware", "kernel", "init", "agent", "exec"];
    Sample {
        seq,
        metric: "tti".into(),
        unit: Unit::Ns,
        started_ns: seq * 1_000_000_000,
        outcome: Outcome::Success { value: 812_345_678.0 + seq as f64 },
        phases: phases
            .iter()
            .zip(0..)
            .map(|(name, index)| Phase {
                name: (*name).into(),
                start_ns: index * 135_000_000,
                duration_ns: 135_000_000,
            })
            .collect(),
        labels: BTreeMap::from([("machine".into(), "m0".into())]),
    }
}

fn run() -> Run {
    let started_at = Timestamp::UNIX_EPOCH;
    Run {
        id: RunId::new("bench", started_at, 1),
        scenario: "bench".into(),
        started_at,
        finished_at: None,
        status: RunStatus::Running,
        configuration: serde_json::Value::Null,
        environment: Environment::default(),
    }
}

fn record(criterion: &mut Criterion) {
    let directory = env::var_os("VIRTMARK_BENCH_DIR").map_or_else(env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(directory).unwrap();
    let mut group = criterion.benchmark_group("sample on disk");

    let archive = Archive::open(directory.path().join("archive.sqlite")).unwrap();
    let mut writer = archive.begin(&run()).unwrap();
    let mut seq = 0;
    group.bench_function("archive record", |bencher| {
        bencher.iter(|| {
            writer.record(black_box(&sample(seq))).unwrap();
            seq += 1;
        });
    });

    let mut file = File::create(directory.path().join("samples.jsonl")).unwrap();
    group.bench_function("json line and fdatasync", |bencher| {
        bencher.iter(|| {
            let mut line = serde_json::to_vec(black_box(&sample(seq))).unwrap();
            line.push(b'\n');
            file.write_all(&line).unwrap();
            file.sync_data().unwrap();
        });
    });

    let relaxed = rusqlite::Connection::open(directory.path().join("relaxed.sqlite")).unwrap();
    relaxed
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE samples (seq INTEGER PRIMARY KEY, sample TEXT NOT NULL) STRICT;",
        )
        .unwrap();
    group.bench_function("insert without waiting for the disk", |bencher| {
        bencher.iter(|| {
            let text = serde_json::to_string(black_box(&sample(seq))).unwrap();
            relaxed
                .prepare_cached("INSERT INTO samples (sample) VALUES (?1)")
                .unwrap()
                .execute([text])
                .unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);
