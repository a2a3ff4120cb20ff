//! How many of ten million samples take longer than a microsecond, beside the same loop with nothing in it.
//!
//! `cargo run --release -p virtmark-timeseries --example slow_operations`
//!
//! A loop that reads the clock around nothing shows what the machine does to any program: timer interrupts, other
//! programs, a hypervisor below. Only what goes beyond that is the store's. Rounds of both alternate.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

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

    let mut nothing = Loop::new("nothing")?;
    let mut record = Loop::new("record")?;
    for round in 0..ROUNDS {
        nothing.run(|at| at)?;
        // The sampler's part, which is not counted: here the pages of the second's slots are made present.
        recorder.publish(START_NS + round * 1_000_000_000)?;
        record.run(|at| recorder.record(series[at as usize % series.len()], at as f64))?;
        writer.consolidate();
    }
    println!("   loop  operations  p50 ns  p99 ns  p99.99 ns     max ns  over 1 µs  of them a second");
    nothing.print();
    record.print();
    Ok(())
}

struct Loop {
    name: &'static str,
    times_ns: Histogram<u64>,
    elapsed: Duration,
}

impl Loop {
    fn new(name: &'static str) -> Result<Self, Box<dyn Error>> {
        Ok(Self { name, times_ns: Histogram::new(3)?, elapsed: Duration::ZERO })
    }

    fn run<T>(&mut self, mut operation: impl FnMut(u64) -> T) -> Result<(), Box<dyn Error>> {
        let begin = Instant::now();
        for at in 0..OPERATIONS_PER_ROUND {
            let start = Instant::now();
            black_box(operation(black_box(at)));
            self.times_ns.record(start.elapsed().as_nanos() as u64)?;
        }
        self.elapsed += begin.elapsed();
        Ok(())
    }

    fn print(&self) {
        let times = &self.times_ns;
        let slow = times.count_between(1_001, times.high());
        println!(
            "{:>7} {:>11} {:>7} {:>7} {:>10} {:>10} {slow:>10} {:>17.0}",
            self.name,
            times.len(),
            times.value_at_quantile(0.5),
            times.value_at_quantile(0.99),
            times.value_at_quantile(0.9999),
            times.max(),
            slow as f64 / self.elapsed.as_secs_f64(),
        );
    }
}
