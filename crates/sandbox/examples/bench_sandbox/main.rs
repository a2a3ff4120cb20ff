//! How fast sandboxes are, held to what they are meant to reach, in one run of one program.
//!
//! `cargo run --release -p virtmark-sandbox --example bench_sandbox -- [ROUNDS]`
//!
//! Time to interactive is from the request to create until the output of `echo` is in hand. Cold, template and warm
//! starts go through the service in this process; the same template start also goes through HTTP on loopback, and
//! directly to the driver. Each round has one of each, and each comes first equally often. Then memory, the pause of
//! snapshots, and bursts. Everything is confined, as the service does it by default.
//!
//! A table goes to standard error, JSON to standard output. What misses its target is said to; it is no failure.

mod burst;
mod place;
mod settled;
mod starts;
mod verdict;

use std::error::Error;

use serde_json::json;
use virtmark_hypervisor::Hypervisor;

use place::Place;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// With fewer, a median has no 95 % interval.
const LEAST_ROUNDS: usize = 6;

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(20), |text| text.parse())?;
    if rounds < LEAST_ROUNDS {
        return Err(format!("{rounds} rounds are too few for intervals; give at least {LEAST_ROUNDS}").into());
    }
    let load_before = virtmark_host::facts::load_average();
    let place = Place::open()?;
    let facts = place.qemu.facts().clone();
    eprintln!("{} {}, emulated: {}, {rounds} rounds", facts.name, facts.version, facts.is_emulated());

    let times = starts::measure(&place, rounds)?;
    let mut verdicts = starts::verdicts(&times)?;
    verdicts.push(settled::idle_memory(&place)?);
    verdicts.extend(settled::snapshot_pauses(&place)?);
    let bursts = burst::measure(&place)?;
    verdicts.push(burst::verdict(&bursts)?);
    place.close();

    let starts = starts::figures(&times)?;
    verdict::table(&starts, &verdicts);
    eprintln!(
        "\nother programs had {:.0} % of the CPU time of the bursts; load average before everything: {load_before:?}",
        100.0 * burst::others_share(&bursts)
    );
    let answer = json!({
        "hypervisor": facts,
        "emulated": facts.is_emulated(),
        "cpus": std::thread::available_parallelism()?,
        "load_average_before": load_before,
        "rounds": rounds,
        "tti_ns": times.by_name(),
        "bursts": bursts,
        "verdicts": verdicts,
    });
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(())
}
