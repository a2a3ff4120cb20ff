//! How many of ten million samples take longer than a microsecond, beside the same loop with nothing in it.
//!
//! `cargo run --release -p virtmark-timeseries --example slow_operations`
//!
//! A loop that reads the clock around nothing shows what the machine does to any program: timer interrupts, other
//! programs, a hypervisor below. Only what goes beyond that is the store's. Rounds of both alternate.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use hdrhistogram::Histogram;
use virtmark_timeseries::{Kind, Schema, SeriesKey, StoreOptions, Writer};

const ROUNDS: u64 = 20;
const OPERATIONS_PER_ROUND: u64 = 500_000;
const START_NS: u64 = 1_700_000_000_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let options = StoreOptions::new(vec![Schema::new("all", 30)])?;
    let mut writer = Writer::create(&directory.path().join("store"), &options)?;
    let keys = (0..30).map(|at| Ok((SeriesKey::new(format!("series_{at}"))?, Kind::Gauge)));
    let series = writer.register_all(&keys.collect::<Result<Vec<_>, Box<dyn Error>>>()?)?;
    let mut recorder = writer.recorder()?;

    let mut nothing = Histogram::<u64>::new(3)?;
    let mut record = Histogram::<u64>::new(3)?;
    let mut second = 0;
    for _ in 0..ROUNDS {
        time_each(&mut nothing, |at| at)?;
        // A sampler's second now and then, which is not counted: here pages are made present.
        second += 1;
        recorder.publish(START_NS + second * 1_000_000_000)?;
        time_each(&mut record, |at| recorder.record(series[at as usize % 30], at as f64))?;
        writer.consolidate();
    }
    println!(
        "{:>12} {:>12} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "loop", "operations", "p50 ns", "p99 ns", "p99.99 ns", "max ns", "over 1 µs"
    );
    for (name, histogram) in [("nothing", &nothing), ("record", &record)] {
        let slow = histogram.count_between(1_001, histogram.high());
        println!(
            "{name:>12} {:>12} {:>8} {:>8} {:>9} {:>10} {slow:>10}",
            histogram.len(),
            histogram.value_at_quantile(0.5),
            histogram.value_at_quantile(0.99),
            histogram.value_at_quantile(0.9999),
            histogram.max(),
        );
    }
    Ok(())
}

fn time_each<T>(
    histogram: &mut Histogram<u64>,
    mut operation: impl FnMut(u64) -> T,
) -> Result<(), Box<dyn Error>> {
    for at in 0..OPERATIONS_PER_ROUND {
        let start = Instant::now();
        black_box(operation(black_box(at)));
        histogram.record(start.elapsed().as_nanos() as u64)?;
    }
    Ok(())
}
