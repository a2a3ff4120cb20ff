//! What one sample costs, beside what people use instead, in the same run.
//!
//! `cargo bench -p virtmark-timeseries --bench record`
//!
//! Each peer does its smallest useful thing with one value. `rondo` 0.0.1 is not among them: what the registry has
//! under that name and version is an empty crate.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a benchmark ends by it")]

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::net::UdpSocket;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use virtmark_timeseries::{Kind, Recorder, Schema, Series, SeriesKey, StoreOptions, Writer};

const START_NS: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

struct Bench {
    _directory: tempfile::TempDir,
    writer: Writer,
    series: Vec<Series>,
}

fn store(narrow: bool, lanes: u32) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let schema = Schema::new("all", 30);
    let schema = if narrow { schema.narrow() } else { schema };
    let options = StoreOptions::new(vec![schema]).unwrap().with_lanes(lanes).unwrap();
    let mut writer = Writer::create(&directory.path().join("store"), &options).unwrap();
    let keys: Vec<_> = (0..30)
        .map(|at| (SeriesKey::new(format!("series_{at}")).unwrap(), [Kind::Gauge, Kind::Counter][at % 2]))
        .collect();
    let series = writer.register_all(&keys).unwrap();
    Bench { _directory: directory, writer, series }
}

fn ours(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    for (name, narrow) in [("wide slot", false), ("narrow slot", true)] {
        let bench = store(narrow, 1);
        let mut recorder = bench.writer.recorder().unwrap();
        recorder.publish(START_NS).unwrap();
        let (series, mut value) = (bench.series[0], 0.0);
        group.bench_function(format!("{name}, the same series"), |b| {
            b.iter(|| {
                value += 1.0;
                recorder.record(black_box(series), black_box(value))
            })
        });
        let mut at = 0;
        group.bench_function(format!("{name}, 30 series in turn"), |b| {
            b.iter(|| {
                at = if at + 1 == bench.series.len() { 0 } else { at + 1 };
                recorder.record(black_box(bench.series[at]), black_box(1.0))
            })
        });
    }
    let bench = store(false, 1);
    let mut recorder = bench.writer.recorder().unwrap();
    let samples: Vec<(Series, f64)> = bench.series.iter().map(|series| (*series, 1.0)).collect();
    let mut time_ns = START_NS;
    group.throughput(Throughput::Elements(30));
    group.bench_function("a batch of 30 at a new second", |b| {
        b.iter(|| {
            time_ns += SECOND;
            recorder.record_batch(time_ns, black_box(&samples)).unwrap()
        })
    });
    group.finish();
}

fn peers(c: &mut Criterion) {
    let mut group = c.benchmark_group("peers");
    let total = AtomicU64::new(0);
    group.bench_function("one atomic add", |b| b.iter(|| total.fetch_add(black_box(1), Ordering::Relaxed)));

    let counter = prometheus::Counter::new("c", "c").unwrap();
    group.bench_function("prometheus counter", |b| b.iter(|| counter.inc_by(black_box(1.0))));
    let options = prometheus::HistogramOpts::new("h", "h");
    let histogram = prometheus::Histogram::with_opts(options).unwrap();
    group.bench_function("prometheus histogram", |b| b.iter(|| histogram.observe(black_box(0.3))));

    let mut file: File = tempfile::tempfile().unwrap();
    group.bench_function("write(2) of 16 bytes to a file", |b| {
        b.iter(|| file.write_all(black_box(&[7; 16])).unwrap())
    });

    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    group.bench_function("StatsD packet over loopback", |b| {
        b.iter(|| sender.send(black_box(b"exits_total:1|c")).unwrap())
    });

    let directory = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(directory.path().join("samples.sqlite")).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE TABLE samples (series INTEGER, time INTEGER, value REAL);",
        )
        .unwrap();
    let mut insert = database.prepare("INSERT INTO samples VALUES (?1, ?2, ?3)").unwrap();
    group.bench_function("SQLite insert, WAL, not waiting for the disk", |b| {
        b.iter(|| insert.execute((black_box(1), black_box(2), black_box(3.0))).unwrap())
    });
    group.finish();
}

/// Time for `samples` on each of several threads, all of them at once: the slowest counts, by the processor time it
/// got, so that other programs on the machine do not.
fn at_once(recorders: &mut [Recorder], series: Series, samples: u64) -> Duration {
    let barrier = Barrier::new(recorders.len());
    std::thread::scope(|scope| {
        let run = |recorder| {
            let barrier = &barrier;
            scope.spawn(move || record_many(recorder, barrier, series, samples))
        };
        let threads: Vec<_> = recorders.iter_mut().map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

fn record_many(recorder: &mut Recorder, barrier: &Barrier, series: Series, samples: u64) -> Duration {
    recorder.publish(START_NS).unwrap();
    barrier.wait();
    let start = thread_time();
    for _ in 0..samples {
        recorder.record(black_box(series), black_box(1.0));
    }
    thread_time() - start
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("threads, the same series");
    for threads in [1, 2] {
        let bench = store(false, threads);
        let mut recorders: Vec<Recorder> = (0..threads).map(|_| bench.writer.recorder().unwrap()).collect();
        group.bench_function(format!("each of {threads}"), |b| {
            b.iter_custom(|samples| at_once(&mut recorders, bench.series[0], samples))
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = ours, peers, threads
}
criterion_main!(benches);
