//! What opening, reading and consolidating cost.
//!
//! `cargo bench -p virtmark-timeseries --bench read`

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends by it")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use virtmark_timeseries::{
    Function, Kind, Query, Range, Reader, Schema, Series, SeriesKey, StoreOptions, TierChoice, Writer,
};

const START_NS: u64 = 1_700_000_100_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn store(path: &std::path::Path, count: u32) -> (Writer, Vec<(Series, f64)>) {
    let options = StoreOptions::new(vec![Schema::new("all", count)]).unwrap();
    let mut writer = Writer::create(path, &options).unwrap();
    let keys: Vec<_> = (0..count)
        .map(|at| {
            let key = SeriesKey::new("series").unwrap().with("number", at.to_string()).unwrap();
            (key, Kind::Gauge)
        })
        .collect();
    let series = writer.register_all(&keys).unwrap();
    (writer, series.into_iter().map(|series| (series, 1.0)).collect())
}

fn opening(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut writer, samples) = store(&path, 1000);
    let mut recorder = writer.recorder().unwrap();
    for second in 0..900 {
        recorder.record_batch(START_NS + second * SECOND, &samples).unwrap();
        writer.consolidate();
    }
    drop(recorder);
    writer.close().unwrap();
    let mut group = c.benchmark_group("open, 1,000 series");
    group.bench_function("to read", |b| b.iter(|| Reader::open(&path).unwrap()));
    group.bench_function("to write", |b| b.iter(|| Writer::open(&path).unwrap()));
    group.finish();
}

fn querying(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (mut writer, samples) = store(&path, 30);
    let mut recorder = writer.recorder().unwrap();
    for minute in 0..25 * 60 {
        recorder.record_batch(START_NS + minute * 60 * SECOND, &samples).unwrap();
        writer.consolidate();
    }
    let reader = writer.reader().unwrap();
    let entry = &reader.series()[7];
    let mut group = c.benchmark_group("query one of 30 series");
    for (name, hours) in [("a day", 24), ("six hours", 6)] {
        let range = Range::Last(Duration::from_secs(hours * 3600));
        let query = Query { range, tier: TierChoice::Auto, function: Function::Average };
        group.bench_function(name, |b| b.iter(|| reader.query(entry, &query).unwrap()));
    }
    group.finish();
}

/// One sampler that follows 100 machines of 30 series: what it does once a second.
fn following(c: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut machines: Vec<_> = (0..100)
        .map(|at| {
            let (writer, samples) = store(&directory.path().join(format!("machine-{at}")), 30);
            (writer.recorder().unwrap(), writer, samples)
        })
        .collect();
    let mut second = 0;
    c.bench_function("one second of 100 machines, 30 series each", |b| {
        b.iter(|| {
            second += 1;
            for (recorder, writer, samples) in &mut machines {
                recorder.record_batch(START_NS + second * SECOND, samples).unwrap();
                writer.consolidate();
            }
        })
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    targets = opening, querying, following
}
criterion_main!(benches);
