//! How long a report of many samples takes: `cargo run --release --package virtmark-report --example bench_report`.
//!
//! Made-up runs, as many rounds as the argument says; the archive is not read and no file is written.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use std::time::Instant;

use virtmark_report::html::{self, Options};
use virtmark_report::{RunSamples, format, markdown};
use virtmark_stats::Summary;

const RUNS: u32 = 100;
const SAMPLES: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(11), |rounds| rounds.parse())?;
    let runs: Vec<RunSamples> = (0..RUNS)
        .map(|number| {
            let run = synthetic::run("tti", number, synthetic::tcg());
            RunSamples::new(run, synthetic::tti_samples(u64::from(number) + 1, SAMPLES))
        })
        .collect();
    let (mut html_ns, mut markdown_ns) = (Vec::new(), Vec::new());
    let (mut html_bytes, mut markdown_bytes) = (0, 0);
    for _ in 0..rounds {
        let started = Instant::now();
        html_bytes = html::report(&runs, &Options::default())?.len();
        html_ns.push(started.elapsed().as_nanos() as f64);
        let started = Instant::now();
        markdown_bytes = markdown::report(&runs, &Options::default())?.len();
        markdown_ns.push(started.elapsed().as_nanos() as f64);
    }
    println!("{RUNS} runs, {} samples", format::count(f64::from(RUNS) * SAMPLES as f64));
    for (name, times_ns, bytes) in [("html", html_ns, html_bytes), ("markdown", markdown_ns, markdown_bytes)]
    {
        let summary = Summary::from_samples(&times_ns)?;
        let [median, min, max] = [summary.median, summary.min, summary.max].map(format::duration_ns);
        println!("{name}: median {median}, least {min}, most {max}; {}", format::bytes(bytes as f64));
    }
    Ok(())
}
