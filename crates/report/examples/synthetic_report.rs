//! Writes reports of made-up runs and their figures as PNG, to look at the layout: `cargo run --example synthetic_report DIRECTORY`.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;
#[path = "../tests/synthetic/suite.rs"]
mod synthetic_suite;

use std::path::PathBuf;

use virtmark_model::FailureClass;
use virtmark_report::{RunSamples, Style, html, markdown, terminal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args().nth(1).ok_or("name a directory to write to")?);
    let mut one = RunSamples::new(synthetic::run("tti", 0, synthetic::tcg()), synthetic::tti_samples(11, 50));
    one.samples.push(synthetic::failure(50, "tti", FailureClass::GuestSilent, "no answer within 90 s"));
    one.samples.push(synthetic::failure(51, "tti", FailureClass::GuestPanic, "kernel panic: <synthetic>"));
    one.samples.push(synthetic::skip(52, "restore", "this platform has no snapshots"));
    let slower = [("prepare", 2e6), ("spawn", 60e6), ("kernel", 930e6), ("init", 250e6), ("exec", 12e6)];
    let two = RunSamples::new(
        synthetic::run("tti", 1, synthetic::tcg()),
        synthetic::timed_samples("tti", &slower, 12, 120),
    );
    let faster = [("prepare", 1e6), ("spawn", 40e6), ("kernel", 90e6), ("init", 30e6), ("exec", 2e6)];
    let three = RunSamples::new(
        synthetic::run("tti", 2, synthetic::kvm()),
        synthetic::timed_samples("tti", &faster, 13, 15),
    );
    for run in [&one, &two] {
        println!("{}", terminal::run_summary(run, Style::for_stderr())?);
    }
    println!("{}", terminal::environment_table(&[&one.run, &two.run], Style::for_stderr()));
    for (name, runs) in [
        ("one", vec![one.clone()]),
        ("two", vec![one.clone(), two.clone()]),
        ("three", vec![one, two, three]),
        ("starts", starts()),
        ("mixed", vec![mixed()]),
        ("burst", vec![ramp("burst", 0, 18)]),
        ("staggered", vec![ramp("staggered", 40_000_000, 100)]),
    ] {
        for (position, figure) in html::figures(&runs)?.iter().enumerate() {
            std::fs::write(directory.join(format!("{name}-{position}.png")), figure.to_png(1200)?)?;
        }
        std::fs::write(
            directory.join(format!("{name}.html")),
            html::report(&runs, &html::Options::default())?,
        )?;
    }
    let (runs, suite) = synthetic_suite::suite();
    let options = html::Options { suite: Some(suite), ..html::Options::default() };
    std::fs::write(directory.join("suite.html"), html::report(&runs, &options)?)?;
    std::fs::write(directory.join("suite.md"), markdown::report(&runs, &options)?)?;
    Ok(())
}

/// A service that starts machines in three ways, one run each.
fn starts() -> Vec<RunSamples> {
    let starts = ["cold", "template", "warm"].into_iter().zip(0u32..);
    starts
        .map(|(start, number)| {
            let samples = synthetic::started_samples(start, 20 + u64::from(number), 40);
            RunSamples::new(synthetic::run("tti", number, synthetic::tcg()), samples)
        })
        .collect()
}

/// A warm pool that ran empty in the middle of a run.
fn mixed() -> RunSamples {
    let mut samples = synthetic::started_samples("warm", 31, 30);
    samples.extend(synthetic::started_samples("template", 32, 12));
    RunSamples::new(synthetic::run("tti", 0, synthetic::tcg()), samples)
}

fn ramp(mode: &str, apart_ns: u64, count: u64) -> RunSamples {
    let mut run = synthetic::run("tti", 0, synthetic::tcg());
    run.configuration["mode"] = mode.into();
    RunSamples::new(run, synthetic::launched(synthetic::tti_samples(41, count), apart_ns))
}
