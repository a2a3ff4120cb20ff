//! How often the shipped defaults of a comparison raise a false alarm, and how often they find a difference, on
//! simulated machines: the figures of docs/benchmarks.md. Takes the number of comparisons for each row.

#[path = "../tests/simulated/mod.rs"]
mod simulated;

use std::time::Instant;

use simulated::{DISTURBED, NOISY, Order, QUIET, WILD, tally};

fn main() {
    let comparisons = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(20_000);
    println!("{:10} {:12} {:>6} {:>7} {:>8} {:>8}", "noise", "order", "blocks", "change", "better", "worse");
    let started = Instant::now();
    for noise in [QUIET, NOISY, DISTURBED, WILD] {
        for order in [Order::Interleaved, Order::Separate] {
            for (blocks, effect) in [(10, 0.0), (10, 0.05), (10, 0.10), (20, 0.0), (20, 0.10)] {
                let tally = tally(noise, order, effect, blocks, comparisons);
                let percent = |count: u64| 100.0 * count as f64 / comparisons as f64;
                println!(
                    "{:10} {:12} {:>6} {:>6.0}% {:>7.2}% {:>7.2}%",
                    noise.name,
                    format!("{order:?}").to_lowercase(),
                    blocks,
                    effect * 100.0,
                    percent(tally.better),
                    percent(tally.worse),
                );
            }
        }
    }
    println!("{comparisons} comparisons a row, {:.1} s in all", started.elapsed().as_secs_f64());
}
