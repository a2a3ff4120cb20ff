//! `virtmark kvbench`

mod plan;
mod report;
mod work;

use std::path::Path;

use anyhow::Context;
use serde_json::json;
use virtmark_fleet::bench::{State, StepStatus, carry_out};
use virtmark_host::signals;

use crate::args::{KvbenchArguments, KvbenchCommand};
use crate::exit::Exit;
use crate::failure::{chain, exit_of};
use crate::measure;
use crate::output;
use crate::progress::Progress;
use crate::stop::cancel_on;
use plan::Bench;
use report::BenchReport;
use work::{Carrier, SCENARIO};

pub(crate) fn run(options: &KvbenchArguments, quiet: bool) -> anyhow::Result<Exit> {
    if let Some(KvbenchCommand::Check { file }) = &options.command {
        return check(file, quiet);
    }
    let file = options.file.as_deref().context("no file was named")?;
    let result = bench(options, file, quiet || options.ansible);
    match result {
        // Whoever reads nothing but standard output is told as well.
        Err(error) if options.ansible => {
            let exit = exit_of(&error);
            let told = json!({
                "changed": false, "failed": true, "msg": chain(&error), "file": file, "exit_code": exit.code(),
            });
            output::json(&told)?;
            Ok(exit)
        }
        result => result,
    }
}

/// Says what is wrong with a file, or what would be done.
fn check(file: &Path, quiet: bool) -> anyhow::Result<Exit> {
    let progress = Progress::new(SCENARIO, quiet);
    let bench = Bench::read(file, None, &progress)?;
    let state = bench.results.exists().then(|| State::open(&bench.results)).transpose()?;
    let is_done = |key: &str| state.as_ref().is_some_and(|state| state.done(key).is_some());
    let steps: Vec<_> = bench
        .steps
        .iter()
        .map(|step| {
            let status = if is_done(&step.key) { StepStatus::AlreadyDone } else { StepStatus::NotRun };
            json!({"payload": bench.payload_name(step.payload), "repetition": step.repetition, "status": status})
        })
        .collect();
    let left = bench.steps.iter().filter(|step| !is_done(&step.key)).count();
    progress.note(&format!("{}: {left} of {} steps are left to do", bench.name, bench.steps.len()));
    output::json(&json!({
        "name": bench.name,
        "file": file,
        "results": bench.results,
        "via": bench.via,
        "machines": bench.file.machines,
        "left": left,
        "steps": steps,
    }))?;
    Ok(Exit::Ok)
}

fn bench(options: &KvbenchArguments, file: &Path, quiet: bool) -> anyhow::Result<Exit> {
    let progress = Progress::new(SCENARIO, quiet);
    let via = options.via.map(|via| via.via());
    let bench = Bench::read(file, via, &progress)?;
    let archive = measure::open(&options.archive)?;
    let mut state = State::open(&bench.results)?;
    let need = bench.file.ready();
    // An image is built before anything of the host is taken, and only for machines that are needed.
    let is_done = bench.steps.iter().all(|step| state.done(&step.key).is_some());
    let prepared = match is_done && !options.again {
        true => None,
        false => Some(bench.prepare(&progress)?),
    };
    let interrupt = signals::install().context("cannot listen for signals")?;
    let cancel = cancel_on(&interrupt, "stopping; what came home is kept", &progress)?;
    let mut carrier = Carrier::new(&bench, prepared, &archive, &interrupt, &cancel, (&progress, quiet));
    let (steps, result) = carry_out(&bench.steps, &mut state, need, options.again, &mut carrier, &cancel);
    let stopped = interrupt.signal().map(Exit::Signaled);
    let (exit, error) = match (stopped, result) {
        (Some(stopped), _) => (stopped, None),
        (None, Err(error)) => (exit_of(&error), Some(error)),
        (None, Ok(())) => (report::exit_of_steps(&steps), None),
    };
    let setup = carrier.setup();
    let report = BenchReport::new(&bench, &archive, steps, setup, exit, error.as_ref().map(chain))?;
    // A page that cannot be written takes nothing from those who read the result.
    if let Err(error) = report.write_page(&bench, &archive, &progress) {
        virtmark_scenarios::Progress::warn(&progress, &chain(&error));
    }
    report.present(quiet)?;
    match error {
        // It is told like any other, beside what there is.
        Some(error) if !options.ansible => Err(error),
        _ => Ok(exit),
    }
}
