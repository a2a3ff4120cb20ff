//! `virtmark series bench`

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use virtmark_host::rundir::RunDir;
use virtmark_report::table::{Cell, Column, Table};
use virtmark_report::{Tone, format};
use virtmark_stats::Summary;
use virtmark_timeseries::{Kind, Recorder, Schema, Series, SeriesKey, StoreOptions, Writer};

use crate::args::BenchArguments;
use crate::output;

const SERIES: u32 = 30;
/// Passes over all series in one timed stretch: long enough that reading the clock is nothing beside it.
const PASSES: u32 = 1000;
/// Ticks in one timed stretch.
const TICKS: u32 = 50;
/// Rounds before the first that counts: pages of the store appear, the processor speeds up.
const WARM_UP: u32 = 20;
const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds for one of each, a value for each round.
#[derive(Debug, Default)]
struct Samples {
    record: Vec<f64>,
    atomic: Vec<f64>,
    tick: Vec<f64>,
}

pub(super) fn run(options: &BenchArguments) -> anyhow::Result<()> {
    let rounds = options.rounds.get();
    let store = StoreOptions::new(vec![Schema::new("bench", SERIES)])?;
    let run_dir = RunDir::create()?;
    let directory = run_dir.bulk_dir("bench", store.size_bytes())?.join("store");
    let samples = measure(&directory, &store, rounds)?;
    let figures = Figures::of(&samples)?;
    if options.json {
        return output::json(&figures.object(rounds));
    }
    let text = figures.table(rounds).render(output::stdout_style());
    output::stdout(|output| output.write_all(text.as_bytes()))
}

fn measure(directory: &Path, store: &StoreOptions, rounds: u32) -> anyhow::Result<Samples> {
    let mut writer = Writer::create(directory, store)?;
    let mut keys = Vec::new();
    for number in 0..SERIES {
        keys.push((SeriesKey::new("bench_total")?.with("series", number.to_string())?, Kind::Counter));
    }
    let series = writer.register_all(&keys)?;
    let mut recorder = writer.recorder()?;
    // What is recorded and what is added comes from memory in both, and nothing is stored in between: a store before
    // an atomic addition is waited for, which would make that look slower than it is.
    let values: Vec<(Series, f64)> =
        series.iter().zip(0u32..).map(|(series, at)| (*series, at.into())).collect();
    let addends: Vec<u64> = (0..SERIES.into()).collect();
    let counter = AtomicU64::new(0);
    let mut samples = Samples::default();
    // Any time will do: the store believes its sampler.
    let mut time_ns = 0;
    for round in 0..WARM_UP + rounds {
        let tick = ticks(&mut recorder, &values, &mut time_ns)?;
        let (record, atomic) = if round % 2 == 0 {
            let record = records(&mut recorder, &values);
            (record, atomics(&counter, &addends))
        } else {
            let atomic = atomics(&counter, &addends);
            (records(&mut recorder, &values), atomic)
        };
        if round >= WARM_UP {
            samples.record.push(record);
            samples.atomic.push(atomic);
            samples.tick.push(tick);
        }
    }
    let rejected = recorder.rejected().total();
    ensure!(rejected == 0, "cannot measure: the store rejected {rejected} samples");
    let (passes, sum): (u64, u64) = (u64::from(WARM_UP + rounds) * u64::from(PASSES), addends.iter().sum());
    ensure!(counter.into_inner() == passes * sum, "cannot measure: atomic additions were left out");
    Ok(samples)
}

/// Records into every series again and again at one tick.
fn records(recorder: &mut Recorder, values: &[(Series, f64)]) -> f64 {
    let started = Instant::now();
    for _ in 0..PASSES {
        for (series, value) in black_box(values) {
            recorder.record(*series, *value);
        }
    }
    started.elapsed().as_nanos() as f64 / f64::from(SERIES * PASSES)
}

/// As many additions to one counter that no other thread touches.
fn atomics(counter: &AtomicU64, addends: &[u64]) -> f64 {
    let started = Instant::now();
    for _ in 0..PASSES {
        for addend in black_box(addends) {
            counter.fetch_add(*addend, Ordering::Relaxed);
        }
    }
    started.elapsed().as_nanos() as f64 / f64::from(SERIES * PASSES)
}

/// Publishes one time after the other, each followed by a sample of every series: what a sampler does once a second.
fn ticks(recorder: &mut Recorder, values: &[(Series, f64)], time_ns: &mut u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    for _ in 0..TICKS {
        *time_ns += SECOND_NS;
        recorder.publish(*time_ns)?;
        for (series, value) in black_box(values) {
            recorder.record(*series, *value);
        }
    }
    Ok(started.elapsed().as_nanos() as f64 / f64::from(TICKS))
}

/// The figures of each.
struct Figures {
    record: Summary,
    atomic: Summary,
    tick: Summary,
}

impl Figures {
    fn of(samples: &Samples) -> anyhow::Result<Self> {
        let of = |values: &[f64]| Summary::from_samples(values).context("cannot compute the figures");
        Ok(Self { record: of(&samples.record)?, atomic: of(&samples.atomic)?, tick: of(&samples.tick)? })
    }

    fn object(&self, rounds: u32) -> Value {
        let figures = |summary: &Summary| {
            json!({
                "median_ns": summary.median,
                "median_ci95_ns": summary.median_ci95.map(|interval| [interval.low, interval.high]),
                "min_ns": summary.min,
                "max_ns": summary.max,
            })
        };
        json!({
            "rounds": rounds,
            "series": SERIES,
            "records": u64::from(rounds) * u64::from(SERIES * PASSES),
            "atomic_additions": u64::from(rounds) * u64::from(SERIES * PASSES),
            "ticks": u64::from(rounds) * u64::from(TICKS),
            "threads": 1,
            "optimized": !cfg!(debug_assertions),
            "record": figures(&self.record),
            "atomic_add": figures(&self.atomic),
            "tick_of_all_series": figures(&self.tick),
        })
    }

    fn table(&self, rounds: u32) -> Table {
        let mut table = Table::new("Recording into a time-series store: one thread, wide slots");
        table.column("", Column::Name);
        for heading in ["median", "95 % interval", "min", "max", "timed"] {
            table.column(heading, Column::Figure);
        }
        let each = u64::from(rounds) * u64::from(SERIES * PASSES);
        let rows = [
            ("one record", &self.record, each),
            ("one atomic add", &self.atomic, each),
            ("one tick: publish, then 30 records", &self.tick, u64::from(rounds) * u64::from(TICKS)),
        ];
        for (name, summary, count) in rows {
            let ns = format::duration_ns;
            let interval = summary.median_ci95.map_or_else(
                || "-".into(),
                |interval| format!("{} – {}", ns(interval.low), ns(interval.high)),
            );
            table.row(vec![
                Cell::from(name).tone(Tone::Strong),
                ns(summary.median).into(),
                interval.into(),
                ns(summary.min).into(),
                ns(summary.max).into(),
                format::count(count as f64).into(),
            ]);
        }
        table.note(
            format!(
                "{} rounds, after {WARM_UP} that do not count. A round times {TICKS} ticks of {SERIES} series, and in turns \
                 which come first {} records at one tick and as many additions to one counter. Figures are over the rounds; \
                 the store rejected no sample.",
                format::count(rounds.into()),
                format::count((SERIES * PASSES).into())
            ),
            Tone::Plain,
        );
        if cfg!(debug_assertions) {
            table.note(
                "This virtmark was built without optimisation: its figures say nothing about one that was.",
                Tone::Warning,
            );
        }
        table
    }
}
